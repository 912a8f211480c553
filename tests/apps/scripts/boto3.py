"""Clients without a network: botocore's data files."""
import boto3
from botocore.stub import Stubber

session = boto3.Session(aws_access_key_id="a", aws_secret_access_key="b", region_name="eu-west-1")
client = session.client("s3")
print(client.meta.endpoint_url, len(session.get_available_services()) > 200)
with Stubber(client) as stub:
    stub.add_response("list_buckets", {"Buckets": [{"Name": "one"}]})
    print([bucket["Name"] for bucket in client.list_buckets()["Buckets"]])
print(client.generate_presigned_url("get_object", {"Bucket": "b", "Key": "k"}).split("?")[0])
print(session.resource("dynamodb").Table("t").name)
