"""The command line, `lineside COMMAND`."""
