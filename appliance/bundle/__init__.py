"""One file with everything a node is installed from, for sites that reach no mirror and no index."""

from appliance.bundle.errors import BundleError
from appliance.bundle.making import Request, create

__all__ = ["BundleError", "Request", "create"]
