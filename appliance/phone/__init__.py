"""Real SIP phones driven by script: test calls, their recordings and what is measured on them."""
