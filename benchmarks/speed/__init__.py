"""Our own time beside what one writes by hand, and that of exact arithmetic: a file is an `odenets bench` command."""
