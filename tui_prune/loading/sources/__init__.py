"""Where networks come from, a file each."""
