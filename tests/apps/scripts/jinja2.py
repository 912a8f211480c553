"""Templates of a package, with inheritance and a macro, by PackageLoader."""
from jinja2 import Environment, PackageLoader, TemplateNotFound

environment = Environment(loader=PackageLoader("jinja_pages", "templates"), autoescape=True)
print(environment.list_templates())
print(environment.get_template("pages/list.html").render(items=["<a>", "b"]))
try:
    environment.get_template("none.html")
except TemplateNotFound as error:
    print("not found:", error)
try:
    environment.get_template("broken.html").render()
except ZeroDivisionError as error:
    import traceback
    print(traceback.extract_tb(error.__traceback__)[-1].lineno)
