"""Sources of rows that are no files of this machine, or of a format of their own."""
