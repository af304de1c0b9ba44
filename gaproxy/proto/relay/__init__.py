"""The two sides of an SMTP session, from MAIL to QUIT: what each may say, and what each owes."""
