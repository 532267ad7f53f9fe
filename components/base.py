"""What every component shares: the image it runs in."""

import functools
import os

from kfp import dsl

# The image holds Pagoda itself, so nothing is installed when a step starts. kfp compiles the name into the YAML.
IMAGE = os.environ.get("PAGODA_COMPONENTS_IMAGE", "ghcr.io/pagoda/components:0.1.0")

component = functools.partial(dsl.component, base_image=IMAGE, install_kfp_package=False)
