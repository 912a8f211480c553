"""Models, validation and JSON Schema."""
import json
from datetime import date

from pydantic import BaseModel, Field, ValidationError, field_validator


class Person(BaseModel):
    name: str = Field(min_length=2)
    born: date
    tags: list[str] = []

    @field_validator("name")
    @classmethod
    def titled(cls, value):
        return value.title()


print(Person.model_validate_json('{"name": "ada", "born": "1815-12-10"}').model_dump_json())
try:
    Person(name="x", born="never")
except ValidationError as error:
    print([(e["loc"], e["type"]) for e in error.errors()])
print(json.dumps(Person.model_json_schema(), sort_keys=True))
