"""YAML with libyaml."""
import yaml

text = "a: [1, 2.5, 2024-01-01]\nb: &x {c: ~}\nd: *x\n"
print(yaml.load(text, Loader=yaml.CSafeLoader))
print(yaml.dump({"k": ["v", {"n": 1}]}, Dumper=yaml.CSafeDumper), yaml.__with_libyaml__)
