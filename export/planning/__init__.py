"""What an export and its bundle will take, said before anything is built."""
