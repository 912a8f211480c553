"""A suite of tests in two worker processes."""
import sys

import pytest

sys.exit(pytest.main(["-n", "2", "-q", "-p", "no:cacheprovider", "suite"]))
