"""What models the appliance knows, where they come from, and whether their files are the right ones."""

from appliance.catalog.entries import Catalog, CatalogError, Model, load
from appliance.catalog.verify import ModelFilesError, Problem, require_intact, verify

__all__ = ["Catalog", "CatalogError", "Model", "ModelFilesError", "Problem", "load", "require_intact", "verify"]
