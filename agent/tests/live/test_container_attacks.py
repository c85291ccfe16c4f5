# SPDX-License-Identifier: Apache-2.0
"""Attacks from inside a real container, each with the alert it must raise and a neighbour that must raise none."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.live.harness import Agent
    from tests.live.runc_container import Container

API_SERVER = "10.96.0.1"
PUBLIC_ADDRESS = "93.184.216.34"  # any address outside the private networks; it never leaves the loopback device


@pytest.fixture(scope="module")
def addressed(container: Container) -> Container:
    """The container, with the addresses that the tests contact on its own loopback device."""
    for address in (API_SERVER, PUBLIC_ADDRESS):
        subprocess.run(
            ["nsenter", "-t", str(container.pid()), "-n", "busybox", "ip", "addr", "add", f"{address}/32", "dev", "lo"],
            check=True,
        )
    return container


def done(container: Container, *command: str) -> None:
    """Run the attack and make sure that it happened."""
    result = container.exec(*command)
    assert result.returncode == 0, result.stderr


def test_a_packet_socket_is_reported(agent: Agent, container: Container, mark: str) -> None:
    done(container, "probe", "socket", "packet", mark)
    alert = agent.expect("Packet socket created in container", mark)
    assert alert.priority == "Notice"
    assert alert.fields["container.id"] == container.id
    assert "AF_PACKET" in alert.fields["evt.args"]


def test_another_socket_is_not_reported(agent: Agent, container: Container, mark: str) -> None:
    done(container, "probe", "socket", "udp", mark)
    agent.expect_none(mark)


def test_a_packet_socket_on_the_host_is_not_reported(agent: Agent, probe: object, mark: str) -> None:
    subprocess.run([str(probe), "socket", "packet", mark], check=True)
    agent.expect_none(mark)


@pytest.mark.parametrize("stream", ["0", "1", "2"])
def test_a_standard_stream_put_on_a_connection_is_reported(
    agent: Agent, container: Container, mark: str, stream: str
) -> None:
    done(container, "probe", "redirect", stream, mark)
    alert = agent.expect("Redirect STDOUT/STDIN to Network Connection in Container", mark)
    assert alert.priority == "Notice"
    assert alert.fields["container.id"] == container.id
    assert alert.fields["evt.rawres"] == int(stream)
    assert alert.fields["fd.type"] == "ipv4"
    assert alert.fields["fd.name"].startswith("127.0.0.1:")


def test_another_descriptor_put_on_a_connection_is_not_reported(agent: Agent, container: Container, mark: str) -> None:
    done(container, "probe", "redirect", "9", mark)
    agent.expect_none(mark)


def test_a_standard_stream_put_on_a_file_is_not_reported(agent: Agent, container: Container, mark: str) -> None:
    done(container, "probe", "redirect-file", "/etc/hosts", mark)
    agent.expect_none(mark)


def test_a_program_that_is_not_in_the_image_is_reported(agent: Agent, container: Container, mark: str) -> None:
    done(container, "cp", "/bin/probe", f"/tmp/{mark}")
    done(container, f"/tmp/{mark}", "nothing")
    alert = agent.expect("Drop and execute new binary in container", mark)
    assert alert.priority == "Critical"
    assert alert.fields["proc.exepath"] == f"/tmp/{mark}"
    assert alert.fields["container.id"] == container.id


def test_a_program_of_the_image_is_not_reported(agent: Agent, container: Container, mark: str) -> None:
    done(container, "probe", "nothing", mark)
    agent.expect_none(mark)


def test_a_new_program_on_the_host_is_not_drift(agent: Agent, probe: object, mark: str, tmp_path: object) -> None:
    program = f"{tmp_path}/{mark}"
    subprocess.run(["cp", str(probe), program], check=True)
    subprocess.run([program, "nothing"], check=True)
    agent.expect_none(mark)


def test_contact_with_the_api_server_is_reported(agent: Agent, addressed: Container, mark: str) -> None:
    done(addressed, "probe", "connect", API_SERVER, "443", mark)
    alert = agent.expect("Contact K8S API Server From Container", mark)
    assert alert.priority == "Notice"
    assert alert.fields["container.id"] == addressed.id
    assert f"->{API_SERVER}:443" in alert.fields["fd.name"]


def test_contact_with_the_port_of_the_api_server_is_reported(agent: Agent, addressed: Container, mark: str) -> None:
    done(addressed, "probe", "connect", "127.0.0.1", "6443", mark)
    agent.expect("Contact K8S API Server From Container", mark)


def test_contact_with_another_server_is_not_reported(agent: Agent, addressed: Container, mark: str) -> None:
    done(addressed, "probe", "connect", API_SERVER, "8000", mark)
    done(addressed, "probe", "connect", PUBLIC_ADDRESS, "443", mark)
    agent.expect_none(mark)


def test_ssh_to_the_port_of_another_service_is_reported(agent: Agent, addressed: Container, mark: str) -> None:
    done(addressed, "ssh", "connect", PUBLIC_ADDRESS, "443", mark)
    alert = agent.expect("Disallowed SSH Connection Non Standard Port", mark)
    assert alert.priority == "Notice"


def test_ssh_to_its_own_port_is_not_reported(agent: Agent, addressed: Container, mark: str) -> None:
    done(addressed, "ssh", "connect", PUBLIC_ADDRESS, "22", mark)
    done(addressed, "ssh", "connect", "127.0.0.1", "8080", mark)
    agent.expect_none(mark)


@pytest.mark.parametrize("directory", ["/bin", "/usr/bin"])
def test_a_new_file_among_the_programs_is_reported(
    agent: Agent, container: Container, mark: str, directory: str
) -> None:
    done(container, "cp", "/etc/hosts", f"{directory}/{mark}")
    alert = agent.expect("Write below binary dir", mark)
    assert alert.priority == "Error"
    assert alert.fields["fd.name"] == f"{directory}/{mark}"
    assert alert.fields["container.id"] == container.id


def test_a_file_moved_among_the_programs_is_reported(agent: Agent, container: Container, mark: str) -> None:
    done(container, "cp", "/etc/hosts", f"/usr/{mark}")
    done(container, "mv", f"/usr/{mark}", f"/usr/bin/{mark}")
    alert = agent.expect("Write below binary dir", mark, proc_name="mv")
    assert alert.fields["evt.arg.newpath"] == f"/usr/bin/{mark}"


def test_a_file_in_a_directory_with_a_similar_name_is_not_reported(
    agent: Agent, container: Container, mark: str
) -> None:
    done(container, "mkdir", "-p", f"/tmp/bin/{mark}", f"/binary{mark}")
    done(container, "cp", "/etc/hosts", f"/tmp/bin/{mark}/file")
    done(container, "cp", "/etc/hosts", f"/binary{mark}/file")
    agent.expect_none(mark)


def test_a_read_of_a_program_is_not_reported(agent: Agent, container: Container, mark: str) -> None:
    container.exec("cat", "/bin/probe", f"/{mark}")
    agent.expect_none(mark)


def test_a_new_file_below_etc_is_reported(agent: Agent, container: Container, mark: str) -> None:
    done(container, "cp", "/bin/probe", f"/etc/{mark}")
    alert = agent.expect("Write below etc", mark)
    assert alert.priority == "Error"
    assert alert.fields["fd.name"] == f"/etc/{mark}"
    assert alert.fields["proc.name"] == "cp"
    assert alert.fields["container.id"] == container.id


def test_a_file_moved_below_etc_is_reported(agent: Agent, container: Container, mark: str) -> None:
    done(container, "cp", "/bin/probe", f"/tmp/{mark}")
    done(container, "mv", f"/tmp/{mark}", f"/etc/moved-{mark}")
    agent.expect("Write below etc", mark, proc_name="mv")


def test_a_file_below_another_etc_is_not_reported(agent: Agent, container: Container, mark: str) -> None:
    done(container, "mkdir", "-p", f"/tmp/{mark}/etc", f"/etcetera{mark}")
    done(container, "cp", "/bin/probe", f"/tmp/{mark}/etc/file")
    done(container, "cp", "/bin/probe", f"/etcetera{mark}/file")
    agent.expect_none(mark)


def test_netcat_that_hands_out_a_shell_is_reported(agent: Agent, container: Container, mark: str) -> None:
    container.exec("ncat", "nothing", "-e", "/bin/sh", mark)
    alert = agent.expect("Netcat Remote Code Execution in Container", mark)
    assert alert.priority == "Warning"


def test_netcat_that_only_connects_is_not_reported(agent: Agent, container: Container, mark: str) -> None:
    container.exec("ncat", "nothing", "127.0.0.1", mark)
    agent.expect_none(mark)


def test_a_release_agent_file_is_reported(agent: Agent, container: Container, mark: str) -> None:
    done(container, "mkdir", f"/tmp/{mark}")
    done(container, "cp", "/etc/hosts", f"/tmp/{mark}/release_agent")
    alert = agent.expect("Detect release_agent File Container Escapes", mark)
    assert alert.priority == "Critical"


def test_a_file_beside_a_release_agent_is_not_reported(agent: Agent, container: Container, mark: str) -> None:
    done(container, "mkdir", f"/tmp/{mark}")
    done(container, "cp", "/etc/hosts", f"/tmp/{mark}/notify_on_release")
    agent.expect_none(mark)
