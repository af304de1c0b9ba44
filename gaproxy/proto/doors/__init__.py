"""How a peer comes in: one door a language, and the words that the doors share."""
