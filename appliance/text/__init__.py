"""Text of the languages the appliance speaks: names, scripts, spoken forms."""
