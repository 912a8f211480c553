"""In its first life it changes the file that is watched, in its second it ends."""

import os
import sys
import time
from pathlib import Path

import django
from django.conf import settings
from django.dispatch import receiver
from django.utils import autoreload

watched = Path("settings.txt").absolute()
urlpatterns = []


@receiver(autoreload.autoreload_started)
def watch(sender, **_):
    sender.watch_dir(watched.parent, "*.txt")


def main():
    django.setup()
    print(sys.argv[1:], watched.read_text(), flush=True)
    if watched.read_text() == "second":
        os._exit(0)
    # The reloader looks once a second.
    time.sleep(2)
    watched.write_text("second")
    time.sleep(60)


if __name__ == "__main__":
    if os.environ.get(autoreload.DJANGO_AUTORELOAD_ENV) != "true":
        watched.write_text("first")
    settings.configure(ROOT_URLCONF="django_reloader.__main__", USE_I18N=False)
    autoreload.run_with_reloader(main)
