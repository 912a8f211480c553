"""A progress bar, and one of several threads."""
import sys
from concurrent.futures import ThreadPoolExecutor

from tqdm import tqdm
from tqdm.contrib.concurrent import thread_map

print(sum(tqdm(range(100), file=sys.stderr)))
print(thread_map(abs, [-1, -2], file=sys.stderr))
with ThreadPoolExecutor(1):
    print(tqdm.format_sizeof(123456), tqdm.format_interval(3661))
