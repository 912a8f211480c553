"""A run over a folder of tests: assertion rewriting, fixtures, a failure, captured output."""
import sys

import pytest

sys.exit(pytest.main(["-p", "no:cacheprovider", "--color=no", "-q", "--durations=0", "--durations-min=99", "suite"]))
