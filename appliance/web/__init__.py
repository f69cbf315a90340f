"""What every HTTP server of the appliance has in front of it."""
