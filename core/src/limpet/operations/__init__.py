"""What people do with a repository, usable as a library."""
