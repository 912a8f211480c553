"""The list of extractors, and the information of a format string."""
import yt_dlp

names = [ie.IE_NAME for ie in yt_dlp.extractor.gen_extractors()]
print(len(names) > 1000, names[:5])
with yt_dlp.YoutubeDL({"quiet": True}) as ydl:
    print(ydl.evaluate_outtmpl("%(title)s.%(ext)s", {"title": "a/b", "ext": "mp4"}))
