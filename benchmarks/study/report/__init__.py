"""The report of a study: statistics over seeds, tables, figures and findings, on one page."""
