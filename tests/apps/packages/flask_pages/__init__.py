from flask import Blueprint, render_template

pages = Blueprint("pages", __name__, template_folder="templates", static_folder="static")


@pages.get("/hello/<name>")
def hello(name):
    return render_template("hello.html", name=name)
