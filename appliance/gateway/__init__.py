"""The Litestar application that runs calls."""
