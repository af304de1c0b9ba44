"""The words of SMTP, cut and named: grammar without state."""
