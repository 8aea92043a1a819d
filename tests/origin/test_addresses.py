"""Addresses: which are public, and how they are shown."""

import ipaddress

import pytest

from deepkd.errors import ConfigError
from deepkd.origin.addresses import hide_credentials, may_connect
from deepkd.settings.detect import DetectConfig

PUBLIC = ("8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1")
PRIVATE = (
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "224.0.0.1", "255.255.255.255", "240.0.0.1", "198.18.0.1", "0.0.0.0", "::1", "::", "fe80::1",
    "fc00::1", "fe80::1%eth0",
    "fec0::1", "ff02::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "::127.0.0.1",
    "64:ff9b::a00:1", "64:ff9b:1::a00:1", "2002:a00:1::1", "2002:7f00:1::", "2001:db8::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2", "localhost", "example.org", "127.1", "",
)  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address: str) -> None:
    assert may_connect(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_private(address: str) -> None:
    assert not may_connect(address)
    assert not may_connect(address, [ipaddress.ip_network("10.9.0.0/16")])


def test_allowed() -> None:
    networks = [ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("::1")]
    assert may_connect("10.1.2.3", networks) and may_connect("::ffff:10.1.2.3", networks)
    assert may_connect("::1", networks) and not may_connect("10.2.0.1", networks)


@pytest.mark.parametrize("text", ["localhost", "10.0.0.1/8", "10.0.0.0/8,", "*"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"give addresses or networks, such as 10\.1\.0\.0/16"):
        DetectConfig(allow_private=text)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://example.org//a.mp4", "https://example.org//a.mp4"),
        ("https://www.example.org/@user/video/1?lang=en#t=3",) * 2,
        ("https://user:pw@example.org:8443/a", "https://example.org:8443/a"),
        ("https://user@example.org", "https://example.org"),
        ("https://u:p@q@example.org/a", "https://example.org/a"),
        ("http://u:pa/ss@example.org/a", "http://example.org/a"),
        ("rtsp://u:pw@cam/1", "rtsp://cam/1"),
        ("file:///a/b.mp4", "file:///a/b.mp4"),
        ("http://[2001:db8::1]:80/a", "http://[2001:db8::1]:80/a"),
        (
            "https://b.s3/a?X-Amz-Credential=A&X-Amz-Signature=B&v=1",
            "https://b.s3/a?X-Amz-Credential=***&X-Amz-Signature=***&v=1",
        ),
        ("https://a/b?v=1;api_key=2#access_token=3&x=4", "https://a/b?v=1;api_key=***#access_token=***&x=4"),
        ("https://a/?password=1&PASSWD=2&sessionid=3",
         "https://a/?password=***&PASSWD=***&sessionid=***"),
    ],
)  # fmt: skip
def test_addresses_are_shown_hide_credentials(url: str, shown: str) -> None:
    assert hide_credentials(url) == shown
