"""What only an accelerator can show of odenets: ``odenets bench accelerator``."""
