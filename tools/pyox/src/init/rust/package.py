"""The Python in @NAME@."""

import sys


def main():
    print(f"Hello from {__name__}, Python {sys.version.split()[0]}")
