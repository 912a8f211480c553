"""A project with an application: migrations, the ORM, a template, a static file and the admin."""
import os
import sys

os.environ["DJANGO_SETTINGS_MODULE"] = "django_site.settings"

import django
from django.core.management import call_command

django.setup()
call_command("check", stdout=sys.stdout)
call_command("migrate", verbosity=0)
from django.test import Client
from django_site.books.models import Book

Book.objects.create(title="Dune", pages=412)
Book.objects.create(title="Emma", pages=474)
client = Client()
for path in ("/", "/static/books/style.css", "/admin/login/"):
    reply = client.get(path)
    body = b"".join(reply) if reply.streaming else reply.content
    print(reply.status_code, reply["Content-Type"], b"csrf" in body or body.decode())
call_command("showmigrations", "books", stdout=sys.stdout)
call_command("makemigrations", "--check", "--dry-run", stdout=sys.stdout)
print(sorted(t for t in __import__("django.core.management", fromlist=["x"]).get_commands())[:5])
