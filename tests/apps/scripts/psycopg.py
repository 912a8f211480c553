"""libpq from the wheel, and the error of a refused connection."""
import psycopg
from psycopg import sql

print(psycopg.pq.__impl__, psycopg.pq.version() > 100000)
try:
    psycopg.connect("host=127.0.0.1 port=1 user=someone connect_timeout=2")
except psycopg.OperationalError as error:
    print("refused" in str(error))
print(sql.SQL("select {} from {}").format(sql.Literal(1), sql.Identifier("t")).as_string(None))
