"""A network before and after a cut, as tables and pictures for people: in the terminal, in files, beside each other."""
