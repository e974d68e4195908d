"""The command line: one program, `streamrec`, a module for each group of commands."""
