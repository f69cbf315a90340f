"""A node as a whole, seen by the person who looks after it: what runs, what is kept, whether it takes calls well."""
