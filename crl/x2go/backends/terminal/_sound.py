"""Sound of a session: what the server's programs need, and the tunnel to the sound server of this machine.

A session's programs find PulseAudio by a file in the session's folder on the server, which names a port there and a
cookie that was made for this session alone; the tunnel leads from that port to this machine. EsounD's programs find
theirs by the port that x2goruncommand names, and a file in the account's home.
"""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crl.errors import CrlError
from crl.secrets import Secret
from crl.x2go._soundgate import COOKIE_LENGTH
from crl.x2go._soundserver import NATIVE_PORT, SoundServer, find_sound_server
from crl.x2go.rforward import X2GoRevFwTunnel
from crl.x2go.soundtunnel import X2GoRevFwTunnelToAudio
from crl.x2go.x2go_exceptions import X2GoParameterError, X2GoSoundException

if TYPE_CHECKING:
    from crl.x2go._server import X2GoServer
    from crl.x2go.backends.control.plain import X2GoControlSession
    from crl.x2go.backends.info.plain import X2GoServerSessionInfo
    from crl.x2go.backends.terminal._params import X2GoSessionParams
    from crl.x2go.log import X2GoLogger

__all__ = ["NO_SOUND", "SessionSound"]

NO_SOUND = frozenset({"none", "nosnd", ""})
PULSE_CONFIG, PULSE_COOKIE, ESD_COOKIE = ".pulse-client.conf", ".pulse-cookie", ".esd_auth"
ESD_COOKIE_LENGTH = 16
ESD_PORT = 16001
LISTENING_TIME = 15.0


class SessionSound:
    """What `X2GoTerminalSession` has of sound."""

    control_session: X2GoControlSession
    session_info: X2GoServerSessionInfo
    session_instance: Any
    params: X2GoSessionParams
    logger: X2GoLogger
    sound_server: Any
    snd_microphone: bool
    sound_tunnel: X2GoRevFwTunnel | None
    _pulse_config: str | None
    _pulse_cookie: str

    if TYPE_CHECKING:

        @property
        def server(self) -> X2GoServer: ...

        @property
        def _host(self) -> str: ...

    @property
    def wants_sound(self) -> bool:
        """Whether the session is to have sound."""
        return self.params.snd_system not in NO_SOUND

    def start_sound(self) -> None:
        """Have what the session plays be heard here; a session without sound stays so.

        Raises:
            X2GoSoundException: This machine has no sound server, or there is no way to it; the session goes on.
        """
        if not self.wants_sound:
            return
        self.stop_sound()
        if not self.session_info.is_initialized() or not self.session_info.snd_port:
            raise self._no_sound("there is no session that could play")
        try:
            tunnel = getattr(self, f"_{self.params.snd_system}_tunnel")()
            self._listen(tunnel)
            if tunnel.server_port != self._sound_port():
                self._tell_port(tunnel.server_port)
        except (X2GoSoundException, X2GoParameterError):
            raise
        except (CrlError, OSError) as error:
            self.stop_sound()
            raise self._no_sound(str(error)) from error

    def stop_sound(self) -> None:
        """End the way of sound; what plays on the server finds no sound server any more."""
        tunnel, self.sound_tunnel = self.sound_tunnel, None
        if tunnel is not None:
            tunnel.stop_thread()

    def _sound_environment(self) -> dict[str, str]:
        """The variables with which programs on the server find the session's sound."""
        return {} if self._pulse_config is None else {"PULSE_CLIENTCONFIG": self._pulse_config}

    def _listen(self, tunnel: X2GoRevFwTunnel) -> None:
        """Start a tunnel and see that the server listens."""
        tunnel.start()
        listens = False
        try:
            listens = tunnel.wait_listening(LISTENING_TIME)
        finally:
            if not listens:
                tunnel.stop_thread()
        if not listens:
            raise self._no_sound(f"the server does not listen on port {self.session_info.snd_port} for us")
        self.sound_tunnel = tunnel

    def _pulse_tunnel(self) -> X2GoRevFwTunnel:
        # First what the session's programs are told: with it they find sound that comes up later too.
        cookie = secrets.token_bytes(COOKIE_LENGTH)
        self._tell_programs(cookie)
        return X2GoRevFwTunnelToAudio(
            self._sound_port(),
            self.control_session.target,
            self._find_server(),
            cookie=cookie,
            microphone=self.snd_microphone,
            any_port=True,
            session_instance=self.session_instance,
            logger=self.logger,
        )

    def _tell_programs(self, cookie: bytes) -> None:
        Secret(cookie.hex())
        self._pulse_cookie = self.server.put_file(self.session_info.name, PULSE_COOKIE, cookie)
        self._tell_port(self._sound_port())

    def _tell_port(self, port: int) -> None:
        """Tell them the port: the session's own, unless a client had it, for then nobody can listen there."""
        # Memory is not shared with programs on another machine, whatever the addresses look like.
        lines = (f"default-server=127.0.0.1:{port}", f"cookie-file={self._pulse_cookie}", "enable-shm=no", "")
        self._pulse_config = self.server.put_file(self.session_info.name, PULSE_CONFIG, "\n".join(lines).encode())

    def _find_server(self) -> SoundServer:
        """The sound server that was given, that of the client, or the user's."""
        given = self.sound_server or getattr(self._client(), "pulseaudio", None)
        if given is None:
            return find_sound_server(self.params.snd_port)
        if isinstance(given, SoundServer):
            return given
        if isinstance(given, str):
            return SoundServer.parse(given)
        if hasattr(given, "wait_ready"):
            found: SoundServer = given.wait_ready()
            return found
        raise X2GoParameterError(f"sound_server cannot be {given!r}", advice="give an X2GoPulseAudio, or an address")

    def _client(self) -> Any:
        return getattr(self.session_instance, "client_instance", None)

    def _esd_tunnel(self) -> X2GoRevFwTunnel:
        with contextlib.suppress(FileNotFoundError):  # then it asks for none
            cookie = (Path.home() / ESD_COOKIE).read_bytes()
            if len(cookie) != ESD_COOKIE_LENGTH:
                raise self._no_sound(f"{Path.home() / ESD_COOKIE} is no key of EsounD")
            Secret(cookie.hex())
            self.server.put_file(None, ESD_COOKIE, cookie)
        port = ESD_PORT if self.params.snd_port == NATIVE_PORT else self.params.snd_port
        SoundServer(("127.0.0.1", port)).connect().close()
        return X2GoRevFwTunnel(
            self._sound_port(),
            "127.0.0.1",
            port,
            self.control_session.target,
            session_instance=self.session_instance,
            logger=self.logger,
        )

    def _arts_tunnel(self) -> X2GoRevFwTunnel:
        raise self._no_sound("aRts has not been made for many years, and has no way through a tunnel")

    def _sound_port(self) -> int:
        return self.session_info.snd_port or 0

    def _no_sound(self, why: str) -> X2GoSoundException:
        return X2GoSoundException(
            f"the session has no sound: {why}", host=self._host, doing="setting up a session's sound"
        )
