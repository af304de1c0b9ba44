"""Who may begin what, and when: numbers and names only."""
