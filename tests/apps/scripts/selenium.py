"""Starts the manager of drivers, a program in selenium's wheel."""
import subprocess

from selenium.webdriver.common.selenium_manager import SeleniumManager

manager = SeleniumManager._get_binary()
done = subprocess.run([str(manager), "--version"], capture_output=True, text=True, check=True)
print(done.stdout.strip())
try:
    SeleniumManager().binary_paths(["--browser", "nosuch", "--offline"])
except Exception as error:
    print(type(error).__name__, "Invalid browser" in str(error))
