from django.contrib import admin
from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.urls import path

from django_site.books.views import index

urlpatterns = [path("", index), path("admin/", admin.site.urls), *staticfiles_urlpatterns()]
