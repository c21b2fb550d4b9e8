"""Does, as each of the roles of docs/iam, what Prunella does, against moto with its rights enforced; prints what is wrong.

moto knows the actions of a policy, not its resources and conditions.
"""
import json, sys
import boto3
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.core import set_initial_no_auth_action_count

docs = sys.argv[1]
wrong = []


def client(service, key=("x", "x")):
    return boto3.client(service, aws_access_key_id=key[0], aws_secret_access_key=key[1], region_name="us-east-1")


def may(who, what, expected, call):
    try:
        call()
        allowed = True
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("AccessDenied", "AccessDeniedException"):
            raise
        allowed = False
    if allowed != expected:
        wrong.append(f"{who} {'may' if allowed else 'may not'} {what}")


@mock_aws
def main():
    iam = client("iam")
    client("s3").create_bucket(Bucket="bucket")
    keys = {}
    for who in ("producer", "reader", "collector"):
        text = open(f"{docs}/aws-{who}.json").read().replace("BUCKET", "bucket").replace("PREFIX", "team")
        iam.create_user(UserName=who)
        iam.put_user_policy(UserName=who, PolicyName=who, PolicyDocument=text)
        key = iam.create_access_key(UserName=who)["AccessKey"]
        keys[who] = (key["AccessKeyId"], key["SecretAccessKey"])
    with_rights = set_initial_no_auth_action_count(0)

    @with_rights
    def each():
        for who in ("producer", "collector", "reader"):
            s3, writes, deletes = client("s3", keys[who]), who != "reader", who == "collector"
            at = {"Bucket": "bucket", "Key": f"team/{who}"}
            may(who, "create", writes, lambda: s3.put_object(**at, Body=b"1", IfNoneMatch="*"))
            may(who, "renew a hint", writes, lambda: s3.put_object(**at, Body=b"2"))
            seen = {"Bucket": "bucket", "Key": "team/producer"}
            may(who, "read", True, lambda: s3.get_object(**seen))
            may(who, "look at one", True, lambda: s3.head_object(**seen))
            may(who, "list", True, lambda: s3.list_objects_v2(Bucket="bucket", Prefix="team/"))
            may(who, "upload in parts", writes, lambda: s3.create_multipart_upload(**at))
            may(who, "delete", deletes, lambda: s3.delete_object(Bucket="bucket", Key="team/nothing"))
    each()


main()
print("\n".join(wrong) or "as it should be")
sys.exit(bool(wrong))
