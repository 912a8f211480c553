"""A blueprint of a package with its template and static file, asked by the test client."""
from flask import Flask
from flask_pages import pages

app = Flask("flask_pages")
app.register_blueprint(pages)
app.secret_key = "k"
client = app.test_client()
for path in ("/hello/ada", "/static/style.css", "/nothing"):
    reply = client.get(path)
    print(reply.status_code, reply.mimetype, reply.get_data(as_text=True)[:80])
