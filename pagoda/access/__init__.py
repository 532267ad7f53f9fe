"""Who may do what: roles, their tokens, and what is never shown."""
