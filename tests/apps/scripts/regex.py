"""What `re` cannot do."""
import regex

print(regex.findall(r"\p{Lu}\p{Ll}+", "Ärger und Öl Im Haus"))
print(regex.search(r"(?e)(?:hello){e<=2}", "say helo there").group())
print(regex.sub(r"(?<n>\d+)", r"<\g<n>>", "a1b22"))
