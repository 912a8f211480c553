"""Draw, resize and encode in several formats: the libraries in `pillow.libs`."""
import hashlib
import io

from PIL import Image, ImageDraw, ImageFilter, ImageFont, features

image = Image.new("RGB", (64, 48), "navy")
draw = ImageDraw.Draw(image)
draw.ellipse((8, 8, 40, 40), fill="orange")
draw.text((2, 2), "pyox", font=ImageFont.load_default())
image = image.filter(ImageFilter.GaussianBlur(1)).resize((32, 24))
for kind in ("PNG", "JPEG", "WEBP", "TIFF", "GIF"):
    stream = io.BytesIO()
    image.save(stream, kind)
    back = Image.open(io.BytesIO(stream.getvalue()))
    print(kind, back.size, hashlib.sha256(back.convert("RGB").tobytes()).hexdigest()[:16])
print(features.check("freetype2"), features.version("libjpeg_turbo"))
