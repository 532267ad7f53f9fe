"""What people see of users and answers: the command line shows it, and pages can."""
