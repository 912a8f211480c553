"""Loads the plugins that lie beside it."""
import importlib.util
from pathlib import Path

for path in sorted(Path(__file__).parent.glob("plugin_*.py")):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    print(module.__name__, path.name, module.run(3))
