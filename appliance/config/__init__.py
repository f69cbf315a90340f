"""The one configuration file: typed, strict, with errors that name file, line and key."""
