"""python-x2go's names: what applications import, call by position and by keyword, override and catch.

Invariant: each published parameter has here the same name, place and default; what is new follows and is optional.
The table grows with the modules; it is written after facts of python-x2go 0.6.1.3.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import json
import subprocess
import sys
from typing import Any

import pytest

from crl.x2go import defaults, x2go_exceptions
from tests.published import Names, published

OURS = Names("crl.x2go")

# One line for a callable; `...` stands for a default that is looked up on the machine or any other object.
PUBLISHED = """
backends.profiles.base.X2GoSessionProfiles(session_profile_defaults=None, logger=None, loglevel=56, **kwargs)
backends.profiles.base.X2GoSessionProfiles.__call__(profile_id_or_name)
backends.profiles.base.X2GoSessionProfiles.init_profile_cache(profile_id_or_name)
backends.profiles.base.X2GoSessionProfiles._init_profile_cache(profile_id)
backends.profiles.base.X2GoSessionProfiles.populate_session_profiles()
backends.profiles.base.X2GoSessionProfiles._populate_session_profiles()
backends.profiles.base.X2GoSessionProfiles.get_profile_metatype(profile_id_or_name, force=False)
backends.profiles.base.X2GoSessionProfiles.is_mutable(profile_id_or_name=None, profile_id=None)
backends.profiles.base.X2GoSessionProfiles._is_mutable(profile_id)
backends.profiles.base.X2GoSessionProfiles.supports_mutable_profiles()
backends.profiles.base.X2GoSessionProfiles._supports_mutable_profiles()
backends.profiles.base.X2GoSessionProfiles.mutable_profile_ids()
backends.profiles.base.X2GoSessionProfiles.write()
backends.profiles.base.X2GoSessionProfiles._write()
backends.profiles.base.X2GoSessionProfiles.get_profile_option_type(option)
backends.profiles.base.X2GoSessionProfiles.get_profile_config(profile_id_or_name=None, parameter=None, profile_id=None)
backends.profiles.base.X2GoSessionProfiles.default_profile_config()
backends.profiles.base.X2GoSessionProfiles.has_profile(profile_id_or_name)
backends.profiles.base.X2GoSessionProfiles._update_profile_ids_cache()
backends.profiles.base.X2GoSessionProfiles._get_profile_ids()
backends.profiles.base.X2GoSessionProfiles.has_profile_id(profile_id)
backends.profiles.base.X2GoSessionProfiles.has_profile_name(profile_name)
backends.profiles.base.X2GoSessionProfiles.to_profile_id(profile_name)
backends.profiles.base.X2GoSessionProfiles.to_profile_name(profile_id)
backends.profiles.base.X2GoSessionProfiles.add_profile(profile_id=None, force_add=False, **kwargs)
backends.profiles.base.X2GoSessionProfiles.delete_profile(profile_id_or_name)
backends.profiles.base.X2GoSessionProfiles._delete_profile(profile_id)
backends.profiles.base.X2GoSessionProfiles.update_value(profile_id_or_name, option, value, profile_id=None)
backends.profiles.base.X2GoSessionProfiles._update_value(profile_id, option, value)
backends.profiles.base.X2GoSessionProfiles.check_profile_id_or_name(profile_id_or_name)
backends.profiles.base.X2GoSessionProfiles.to_session_params(profile_id_or_name=None, profile_id=None)
backends.profiles.base.X2GoSessionProfiles.get_session_param(profile_id_or_name, param)
backends.profiles.base.X2GoSessionProfiles._get_profile_parameter(profile_id, option, key_type)
backends.profiles.base.X2GoSessionProfiles._get_profile_options(profile_id)
backends.profiles.base.X2GoSessionProfiles.get_server_hostname(profile_id)
backends.profiles.base.X2GoSessionProfiles._get_server_hostname(profile_id)
backends.profiles.base.X2GoSessionProfiles.get_server_port(profile_id)
backends.profiles.base.X2GoSessionProfiles._get_server_port(profile_id)
backends.profiles.base.X2GoSessionProfiles.get_pkey_object(profile_id)
backends.profiles.base.X2GoSessionProfiles._get_pkey_object(profile_id)
backends.profiles.file.X2GoSessionProfiles(config_files=..., session_profile_defaults=None, logger=None, loglevel=56, **kwargs)
backends.profiles.file.X2GoSessionProfiles.get_type(section, key)
backends.profiles.file.X2GoSessionProfiles._populate_session_profiles()
backends.profiles.file.X2GoSessionProfiles._is_mutable(profile_id)
backends.profiles.file.X2GoSessionProfiles._supports_mutable_profiles()
backends.profiles.file.X2GoSessionProfiles._write()
backends.profiles.file.X2GoSessionProfiles._delete_profile(profile_id)
backends.profiles.file.X2GoSessionProfiles._update_value(profile_id, option, value)
backends.profiles.file.X2GoSessionProfiles._get_profile_parameter(profile_id, option, key_type)
backends.profiles.file.X2GoSessionProfiles._get_profile_options(profile_id)
backends.profiles.file.X2GoSessionProfiles._get_profile_ids()
backends.profiles.file.X2GoSessionProfiles._get_server_hostname(profile_id)
backends.profiles.file.X2GoSessionProfiles._get_server_port(profile_id)
backends.profiles.httpbroker.X2GoSessionProfiles(session_profile_defaults=None, broker_url='http://localhost:8080/json/', broker_username=None, broker_password=None, logger=None, loglevel=56, **kwargs)
backends.profiles.httpbroker.X2GoSessionProfiles.get_broker_noauth()
backends.profiles.httpbroker.X2GoSessionProfiles.get_broker_username()
backends.profiles.httpbroker.X2GoSessionProfiles.get_broker_url()
backends.profiles.httpbroker.X2GoSessionProfiles.set_broker_url(broker_url)
backends.profiles.httpbroker.X2GoSessionProfiles.get_broker_type()
backends.profiles.httpbroker.X2GoSessionProfiles.broker_simpleauth(broker_username, broker_password)
backends.profiles.httpbroker.X2GoSessionProfiles.broker_disconnect()
backends.profiles.httpbroker.X2GoSessionProfiles.is_broker_authenticated()
backends.profiles.httpbroker.X2GoSessionProfiles.broker_listprofiles()
backends.profiles.httpbroker.X2GoSessionProfiles.broker_selectsession(profile_id)
backends.profiles.httpbroker.X2GoSessionProfiles._init_profile_cache(profile_id)
backends.profiles.httpbroker.X2GoSessionProfiles._populate_session_profiles()
backends.profiles.httpbroker.X2GoSessionProfiles._is_mutable(profile_id)
backends.profiles.httpbroker.X2GoSessionProfiles._supports_mutable_profiles()
backends.profiles.httpbroker.X2GoSessionProfiles._write()
backends.profiles.httpbroker.X2GoSessionProfiles._delete_profile(profile_id)
backends.profiles.httpbroker.X2GoSessionProfiles._update_value(profile_id, option, value)
backends.profiles.httpbroker.X2GoSessionProfiles._get_profile_parameter(profile_id, option, key_type)
backends.profiles.httpbroker.X2GoSessionProfiles._get_profile_options(profile_id)
backends.profiles.httpbroker.X2GoSessionProfiles._get_profile_ids()
backends.profiles.httpbroker.X2GoSessionProfiles._get_server_hostname(profile_id)
backends.profiles.httpbroker.X2GoSessionProfiles._get_server_port(profile_id)
backends.profiles.httpbroker.X2GoSessionProfiles._get_pkey_object(profile_id)
backends.profiles.sshbroker.X2GoSessionProfiles(session_profile_defaults=..., logger=None, loglevel=56)
backends.settings.file.X2GoClientSettings(config_files=..., defaults=..., logger=None, loglevel=56)
backends.printing.file.X2GoClientPrinting(config_files=..., defaults=..., client_instance=None, logger=None, loglevel=56)
backends.printing.file.X2GoClientPrinting._detect_print_action()
backends.printing.file.X2GoClientPrinting.get_print_action(reload=False, reinit=False, return_name=False)
backends.printing.file.X2GoClientPrinting.get_property(print_property)
backends.printing.file.X2GoClientPrinting.set_property(print_property, value)
backends.printing.file.X2GoClientPrinting.store_print_action(print_action, **print_properties)
backends.proxy.base.X2GoProxy(session_info=None, ssh_transport=None, session_log='session.log', sessions_rootdir=..., proxy_options=..., session_instance=None, logger=None, loglevel=56)
backends.proxy.base.X2GoProxy.stop_thread()
backends.proxy.base.X2GoProxy.run()
backends.proxy.base.X2GoProxy.process_proxy_options()
backends.proxy.base.X2GoProxy._tidy_up()
backends.proxy.base.X2GoProxy._update_local_proxy_socket(port)
backends.proxy.base.X2GoProxy._generate_cmdline()
backends.proxy.base.X2GoProxy.start_proxy()
backends.proxy.base.X2GoProxy.ok()
backends.proxy.nx3.X2GoProxy._update_local_proxy_socket(port)
backends.proxy.nx3.X2GoProxy._generate_cmdline()
forward.X2GoFwServer(listener, remote_host, remote_port, ssh_transport, session_instance=None, session_name=None, subsystem=None, logger=None, loglevel=56)
forward.X2GoFwServer.start()
forward.X2GoFwServer.x2go_forward_tunnel_handle(fw_socket, address)
forward.X2GoFwServer.close_channel()
forward.X2GoFwServer.close_socket()
forward.X2GoFwServer.stop()
forward.start_forward_tunnel(local_host='127.0.0.1', local_port=22022, remote_host='127.0.0.1', remote_port=22, ssh_transport=None, session_instance=None, session_name=None, subsystem=None, logger=None)
forward.stop_forward_tunnel(fw_server)
rforward.X2GoRevFwTunnel(server_port, remote_host, remote_port, ssh_transport, session_instance=None, logger=None, loglevel=56)
rforward.X2GoRevFwTunnel.cancel_port_forward(address, port)
rforward.X2GoRevFwTunnel.pause()
rforward.X2GoRevFwTunnel.resume()
rforward.X2GoRevFwTunnel.notify()
rforward.X2GoRevFwTunnel.stop_thread()
rforward.X2GoRevFwTunnel._request_port_forwarding()
rforward.X2GoRevFwTunnel.run()
sftpserver.X2GoRevFwTunnelToSFTP(server_port, ssh_transport, auth_key=None, session_instance=None, logger=None, loglevel=56)
sftpserver.X2GoRevFwTunnelToSFTP.cancel_port_forward(address, port)
sftpserver.X2GoRevFwTunnelToSFTP.pause()
sftpserver.X2GoRevFwTunnelToSFTP.resume()
sftpserver.X2GoRevFwTunnelToSFTP.notify()
sftpserver.X2GoRevFwTunnelToSFTP.stop_thread()
sftpserver.X2GoRevFwTunnelToSFTP.run()
sftpserver.X2GoRevFwSFTPChannelThread(channel, remote=None, **kwargs)
sftpserver.x2go_rev_forward_sftpchannel_handler(chan=None, auth_key=None, logger=None)
rforward.X2GoRevFwChannelThread(channel, remote=None, **kwargs)
rforward.x2go_transport_tcp_handler(chan, origin, server)
rforward.x2go_rev_forward_channel_handler(chan=None, addr='', port=0, parent_thread=None, logger=None)
sshproxy.X2GoSSHProxy(hostname=None, port=22, username=None, password=None, passphrase=None, force_password_auth=False, key_filename=None, local_host='localhost', local_port=22022, remote_host='localhost', remote_port=22, known_hosts=None, add_to_known_hosts=False, pkey=None, look_for_keys=False, allow_agent=False, sshproxy_host=None, sshproxy_port=22, sshproxy_user=None, sshproxy_password=None, sshproxy_force_password_auth=False, sshproxy_key_filename=None, sshproxy_pkey=None, sshproxy_passphrase=None, sshproxy_look_for_keys=False, sshproxy_allow_agent=False, sshproxy_tunnel=None, ssh_rootdir=..., session_instance=None, logger=None, loglevel=56)
sshproxy.X2GoSSHProxy.check_host()
sshproxy.X2GoSSHProxy.run()
sshproxy.X2GoSSHProxy.get_local_proxy_host()
sshproxy.X2GoSSHProxy.get_local_proxy_port()
sshproxy.X2GoSSHProxy.get_remote_host()
sshproxy.X2GoSSHProxy.get_remote_port()
sshproxy.X2GoSSHProxy.stop_thread()
gevent_subprocess.Popen(*args, **kwargs)
gevent_subprocess.Popen._write_pipe(f, input)
gevent_subprocess.Popen._read_pipe(f)
gevent_subprocess.Popen.communicate(input=None)
gevent_subprocess.Popen._communicate(input)
gevent_subprocess.Popen.wait(check_interval=0.01)
_paramiko._Pkey_write_private_key(self, f, key, format, password=None)
_paramiko._SSHClient_save_host_keys(self, filename)
_paramiko._HostKeys_load(self, filename)
_paramiko._HostKeys_add(self, hostname, keytype, key, hash_hostname=True)
_paramiko.monkey_patch_paramiko()
inifiles.X2GoIniFile(config_files, defaults=None, logger=None, loglevel=56)
inifiles.X2GoIniFile.load()
inifiles.X2GoIniFile._storeValue(section, key, value)
inifiles.X2GoIniFile._fill_defaults()
inifiles.X2GoIniFile.update_value(section, key, value)
inifiles.X2GoIniFile.write()
inifiles.X2GoIniFile.get_type(section, key)
inifiles.X2GoIniFile.get_value(section, key, key_type=None)
checkhosts.X2GoMissingHostKeyPolicy(caller=None, session_instance=None, fake_hostname=None)
checkhosts.X2GoMissingHostKeyPolicy.get_client()
checkhosts.X2GoMissingHostKeyPolicy.get_hostname()
checkhosts.X2GoMissingHostKeyPolicy.get_hostname_name()
checkhosts.X2GoMissingHostKeyPolicy.get_hostname_port()
checkhosts.X2GoMissingHostKeyPolicy.get_key()
checkhosts.X2GoMissingHostKeyPolicy.get_key_name()
checkhosts.X2GoMissingHostKeyPolicy.get_key_fingerprint()
checkhosts.X2GoMissingHostKeyPolicy.get_key_fingerprint_with_colons()
checkhosts.X2GoAutoAddPolicy.missing_host_key(client, hostname, key)
checkhosts.X2GoInteractiveAddPolicy.missing_host_key(client, hostname, key)
checkhosts.check_ssh_host_key(x2go_sshclient_instance, hostname, port=22)
cleanup.x2go_cleanup(e=None, threads=None)
log.X2GoLogger(name=..., loglevel=56, tag=None)
log.X2GoLogger.message(msg, loglevel=0, tag=None)
log.X2GoLogger.get_loglevel()
log.X2GoLogger.set_loglevel(loglevel_name='none')
log.X2GoLogger.set_loglevel_quiet()
log.X2GoLogger.set_loglevel_error()
log.X2GoLogger.set_loglevel_warn()
log.X2GoLogger.set_loglevel_notice()
log.X2GoLogger.set_loglevel_info()
log.X2GoLogger.set_loglevel_debug()
log.X2GoLogger.enable_debug_sftpxfer()
log.X2GoLogger.disable_debug_sftpxfer()
client.X2GoClient(control_backend='PLAIN', terminal_backend='PLAIN', info_backend='PLAIN', list_backend='PLAIN', proxy_backend='NX3', profiles_backend='FILE', settings_backend='FILE', printing_backend='FILE', broker_url=None, broker_password=None, broker_noauth=False, client_rootdir=None, sessions_rootdir=None, ssh_rootdir=None, start_xserver=False, start_pulseaudio=False, use_cache=False, use_listsessions_cache=False, auto_update_listsessions_cache=False, auto_update_listdesktops_cache=False, auto_update_listmounts_cache=False, auto_update_sessionregistry=False, auto_register_sessions=False, no_auto_reg_pubapp_sessions=False, refresh_interval=5, pulseaudio_installdir=None, logger=None, loglevel=56)
client.X2GoClient.HOOK_profile_auto_connect(profile_name='UNKNOWN')
client.X2GoClient.HOOK_broker_connection_exception(profile_name='UNKNOWN')
client.X2GoClient.HOOK_broker_ignore_connection_problems(profile_name='UNKNOWN', is_profile_connected=False)
client.X2GoClient.HOOK_session_startup_failed(profile_name='UNKNOWN')
client.X2GoClient.HOOK_desktop_sharing_denied(profile_name='UNKNOWN')
client.X2GoClient.HOOK_list_desktops_timeout(profile_name='UNKNOWN')
client.X2GoClient.HOOK_no_such_desktop(profile_name='UNKNOWN', desktop='UNKNOWN')
client.X2GoClient.HOOK_no_known_xserver_found()
client.X2GoClient.HOOK_no_installed_xservers_found()
client.X2GoClient.HOOK_open_print_dialog(profile_name='UNKNOWN', session_name='UNKNOWN')
client.X2GoClient.HOOK_no_such_command(cmd, profile_name='UNKNOWN', session_name='UNKNOWN')
client.X2GoClient.HOOK_open_mimebox_saveas_dialog(filename, profile_name='UNKNOWN', session_name='UNKNOWN')
client.X2GoClient.HOOK_printaction_error(filename, profile_name='UNKNOWN', session_name='UNKNOWN', err_msg='GENERIC_ERROR', printer=None)
client.X2GoClient.HOOK_check_host_dialog(profile_name='UNKNOWN', host='UNKNOWN', port=22, fingerprint='no fingerprint', fingerprint_type='UNKNOWN')
client.X2GoClient.HOOK_on_control_session_death(profile_name)
client.X2GoClient.HOOK_on_failing_SFTP_client(profile_name, session_name)
client.X2GoClient.HOOK_pulseaudio_not_supported_in_RDPsession()
client.X2GoClient.HOOK_pulseaudio_server_startup_failed()
client.X2GoClient.HOOK_pulseaudio_server_died()
client.X2GoClient.HOOK_on_sound_tunnel_failed(profile_name='UNKNOWN', session_name='UNKNOWN')
client.X2GoClient.HOOK_rforward_request_denied(profile_name='UNKNOWN', session_name='UNKNOWN', server_port=0)
client.X2GoClient.HOOK_forwarding_tunnel_setup_failed(profile_name='UNKNOWN', session_name='UNKNOWN', chain_host='UNKNOWN', chain_port=0, subsystem=None)
client.X2GoClient.HOOK_on_session_has_started_by_me(session_uuid='UNKNOWN', profile_name='UNKNOWN', session_name='UNKNOWN')
client.X2GoClient.HOOK_on_session_has_started_by_other(session_uuid='UNKNOWN', profile_name='UNKNOWN', session_name='UNKNOWN')
client.X2GoClient.HOOK_on_session_has_resumed_by_me(session_uuid='UNKNOWN', profile_name='UNKNOWN', session_name='UNKNOWN')
client.X2GoClient.HOOK_on_session_has_resumed_by_other(session_uuid='UNKNOWN', profile_name='UNKNOWN', session_name='UNKNOWN')
client.X2GoClient.HOOK_on_found_session_running_after_connect(session_uuid='UNKNOWN', profile_name='UNKNOWN', session_name='UNKNOWN')
client.X2GoClient.HOOK_on_session_has_been_suspended(session_uuid='UNKNOWN', profile_name='UNKNOWN', session_name='UNKNOWN')
client.X2GoClient.HOOK_on_session_has_terminated(session_uuid='UNKNOWN', profile_name='UNKNOWN', session_name='UNKNOWN')
client.X2GoClient.HOOK_printing_not_available(profile_name='UNKNOWN', session_name='UNKNOWN')
client.X2GoClient.HOOK_mimebox_not_available(profile_name='UNKNOWN', session_name='UNKNOWN')
client.X2GoClient.HOOK_foldersharing_not_available(profile_name='UNKNOWN', session_name='UNKNOWN')
client.X2GoClient.HOOK_sshfs_not_available(profile_name='UNKNOWN', session_name='UNKNOWN')
client.X2GoClient.get_client_rootdir()
client.X2GoClient.get_sessions_rootdir()
client.X2GoClient.get_ssh_rootdir()
client.X2GoClient.get_client_username()
client.X2GoClient.register_all_session_profiles(return_objects=False)
client.X2GoClient.register_session(server=None, profile_id=None, profile_name=None, session_name=None, allow_printing=False, allow_share_local_folders=False, share_local_folders=..., allow_mimebox=False, mimebox_extensions=..., mimebox_action='OPEN', add_to_known_hosts=False, known_hosts=None, forward_sshagent=False, proxy_options=..., return_object=False, **kwargs)
client.X2GoClient.get_session_summary(session_uuid)
client.X2GoClient.get_session_username(session_uuid)
client.X2GoClient.get_session_server_peername(session_uuid)
client.X2GoClient.get_session_server_hostname(session_uuid)
client.X2GoClient.get_session(session_uuid)
client.X2GoClient.get_session_of_session_name(session_name, return_object=False, match_profile_name=None)
client.X2GoClient.get_session_name(session_uuid)
client.X2GoClient.get_session_info(session_uuid)
client.X2GoClient.get_published_applications(session_uuid=None, profile_name=None, lang=None, refresh=False, raw=False, very_raw=False, max_no_submenus=10)
client.X2GoClient.set_session_username(session_uuid, username)
client.X2GoClient.check_session_host(session_uuid)
client.X2GoClient.session_reuses_sshproxy_authinfo(session_uuid)
client.X2GoClient.session_uses_sshproxy(session_uuid)
client.X2GoClient.session_can_sshproxy_auto_connect(session_uuid)
client.X2GoClient.session_can_auto_connect(session_uuid)
client.X2GoClient.session_auto_connect(session_uuid)
client.X2GoClient.connect_session(session_uuid, username=None, password=None, passphrase=None, sshproxy_user=None, sshproxy_password=None, sshproxy_passphrase=None, add_to_known_hosts=False, force_password_auth=False, sshproxy_force_password_auth=False)
client.X2GoClient.disconnect_session(session_uuid)
client.X2GoClient.set_session_print_action(session_uuid, print_action, **kwargs)
client.X2GoClient.set_session_window_title(session_uuid, title='')
client.X2GoClient.raise_session_window(session_uuid)
client.X2GoClient.session_auto_start_or_resume(session_uuid, newest=True, oldest=False, all_suspended=False, start=True)
client.X2GoClient.start_session(session_uuid, **sessionopts)
client.X2GoClient.share_desktop_session(session_uuid, desktop=None, user=None, display=None, share_mode=0, check_desktop_list=False, **sessionopts)
client.X2GoClient.resume_session(session_uuid=None, session_name=None, match_profile_name=None, **sessionopts)
client.X2GoClient.suspend_session(session_uuid, session_name=None, match_profile_name=None, **sessionopts)
client.X2GoClient.terminate_session(session_uuid, session_name=None, match_profile_name=None, **sessionopts)
client.X2GoClient.get_session_profile_name(session_uuid)
client.X2GoClient.get_session_profile_id(session_uuid)
client.X2GoClient.session_ok(session_uuid)
client.X2GoClient.is_session_connected(session_uuid)
client.X2GoClient.is_profile_connected(profile_name)
client.X2GoClient.is_session_profile(profile_id_or_name)
client.X2GoClient.is_session_running(session_uuid, session_name=None)
client.X2GoClient.is_session_suspended(session_uuid, session_name=None)
client.X2GoClient.has_session_terminated(session_uuid, session_name=None)
client.X2GoClient.is_folder_sharing_available(session_uuid=None, profile_name=None)
client.X2GoClient.share_local_folder(session_uuid=None, local_path=None, profile_name=None, folder_name=None)
client.X2GoClient.unshare_all_local_folders(session_uuid=None, profile_name=None)
client.X2GoClient.unshare_local_folder(session_uuid=None, profile_name=None, local_path=None)
client.X2GoClient.get_shared_folders(session_uuid=None, profile_name=None, check_list_mounts=False)
client.X2GoClient.get_master_session(profile_name, return_object=True, return_session_name=False)
client.X2GoClient.client_connected_sessions(return_objects=False, return_profile_names=False, return_profile_ids=False, return_session_names=False)
client.X2GoClient.client_associated_sessions(return_objects=False, return_profile_names=False, return_profile_ids=False, return_session_names=False)
client.X2GoClient.client_running_sessions(return_objects=False, return_profile_names=False, return_profile_ids=False, return_session_names=False)
client.X2GoClient.client_suspended_sessions(return_objects=False, return_profile_names=False, return_profile_ids=False, return_session_names=False)
client.X2GoClient.client_registered_sessions(return_objects=True, return_profile_names=False, return_profile_ids=False, return_session_names=False)
client.X2GoClient.client_control_session_of_profile_name(profile_name)
client.X2GoClient.is_x2goserver(session_uuid, force=False)
client.X2GoClient.get_server_versions(profile_name, component=None, force=False)
client.X2GoClient.get_server_features(profile_name, force=False)
client.X2GoClient.has_server_feature(profile_name, feature)
client.X2GoClient.client_registered_session_of_name(session_name, return_object=False)
client.X2GoClient.client_has_registered_session_of_name(session_name)
client.X2GoClient.client_registered_sessions_of_profile_name(profile_name, return_objects=False, return_session_names=False)
client.X2GoClient.client_connected_sessions_of_profile_name(profile_name, return_objects=False, return_session_names=False)
client.X2GoClient.client_associated_sessions_of_profile_name(profile_name, return_objects=False, return_session_names=False)
client.X2GoClient.client_pubapp_sessions_of_profile_name(profile_name, return_objects=False, return_session_names=False)
client.X2GoClient.client_running_sessions_of_profile_name(profile_name, return_objects=False, return_session_names=False)
client.X2GoClient.client_suspended_sessions_of_profile_name(profile_name, return_objects=False, return_session_names=False)
client.X2GoClient.server_is_alive(session_uuid)
client.X2GoClient.all_servers_are_alive()
client.X2GoClient.server_valid_x2gouser(session_uuid, username=None)
client.X2GoClient.server_running_sessions(session_uuid)
client.X2GoClient.server_has_running_sessions(session_uuid)
client.X2GoClient.server_has_running_session_of_name(session_uuid, session_name)
client.X2GoClient.server_suspended_sessions(session_uuid)
client.X2GoClient.server_has_suspended_sessions(session_uuid)
client.X2GoClient.server_has_suspended_session_of_name(session_uuid, session_name)
client.X2GoClient.clean_sessions(session_uuid, published_applications=False)
client.X2GoClient.list_sessions(session_uuid=None, profile_name=None, profile_id=None, no_cache=False, refresh_cache=False, update_sessionregistry=True, register_sessions=False, with_command=None, raw=False)
client.X2GoClient.list_desktops(session_uuid=None, profile_name=None, profile_id=None, no_cache=False, refresh_cache=False, exclude_session_types=..., raw=False)
client.X2GoClient.list_mounts_by_profile_name(profile_name, no_cache=False, refresh_cache=False, raw=False)
client.X2GoClient.list_mounts(session_uuid, no_cache=False, refresh_cache=False, raw=False)
client.X2GoClient.get_profiles()
client.X2GoClient.get_client_settings()
client.X2GoClient.get_client_printing()
client.X2GoClient.get_profile_config(profile_id_or_name, parameter=None)
client.X2GoClient.set_profile_config(profile_id_or_name, parameter, value)
client.X2GoClient.to_profile_id(profile_name)
client.X2GoClient.to_profile_name(profile_id)
client.X2GoClient.get_profile_metatype(profile_name)
client.X2GoClient.client_connected_profiles(return_profile_names=False)
client.X2GoClient.disconnect_profile(profile_name)
client.X2GoClient.update_sessionregistry_status_by_profile_name(profile_name, session_list=None)
client.X2GoClient.update_sessionregistry_status_by_session_uuid(session_uuid)
client.X2GoClient.update_sessionregistry_status_all_profiles()
client.X2GoClient.update_cache_by_profile_name(profile_name, cache_types='sessions', update_sessions=None, update_desktops=None, update_mounts=None)
client.X2GoClient.update_cache_by_session_uuid(session_uuid, cache_types='sessions', update_sessions=None, update_desktops=None, update_mounts=None)
client.X2GoClient.update_cache_all_profiles(cache_types='sessions', update_sessions=None, update_desktops=None, update_mounts=None)
client.X2GoClient.register_available_server_sessions_by_profile_name(profile_name, re_register=False, skip_pubapp_sessions=False)
client.X2GoClient.register_available_server_sessions_by_session_uuid(session_uuid, skip_pubapp_sessions=False)
client.X2GoClient.register_available_server_sessions_all_profiles(skip_pubapp_sessions=False)
backends.proxy.kdrive.X2GoProxy(*args, **kwargs)
backends.proxy.kdrive.X2GoProxy._update_local_proxy_socket(port)
backends.proxy.kdrive.X2GoProxy._generate_cmdline()
backends.proxy.kdrive.X2GoProxy.process_proxy_options()
telekinesis.X2GoTelekinesisClient(session_info=None, ssh_transport=None, sessions_rootdir=..., session_instance=None, logger=None, loglevel=56)
telekinesis.X2GoTelekinesisClient.has_telekinesis_client()
telekinesis.X2GoTelekinesisClient._tidy_up()
telekinesis.X2GoTelekinesisClient.stop_thread()
telekinesis.X2GoTelekinesisClient.run()
telekinesis.X2GoTelekinesisClient._update_local_tekictrl_socket(port)
telekinesis.X2GoTelekinesisClient._generate_cmdline()
telekinesis.X2GoTelekinesisClient.start_telekinesis()
telekinesis.X2GoTelekinesisClient.ok()
xserver.X2GoClientXConfig(config_files=..., defaults=..., logger=None, loglevel=56)
xserver.X2GoClientXConfig.write()
xserver.X2GoClientXConfig.get_xserver_config(xserver_name)
xserver.X2GoClientXConfig.detect_unused_xdisplay_port(xserver_name)
xserver.X2GoXServer(xserver_name, xserver_config, logger=None, loglevel=56)
xserver.X2GoXServer.run()
xserver.X2GoXServer._terminate_xserver()
xserver.X2GoXServer.stop_thread()
mimebox.X2GoMIMEboxJob(**kwargs)
mimebox.X2GoMIMEboxQueue(profile_name='UNKNOWN', session_name='UNKNOWN', mimebox_dir=None, mimebox_action=None, mimebox_extensions=..., client_instance=None, logger=None, loglevel=56)
mimebox.X2GoMIMEboxQueue.pause()
mimebox.X2GoMIMEboxQueue.resume()
mimebox.X2GoMIMEboxQueue.stop_thread()
mimebox.X2GoMIMEboxQueue.set_mimebox_action(mimebox_action, **kwargs)
mimebox.X2GoMIMEboxQueue.run()
mimebox.x2go_mimeboxjob_handler(mimebox_file=None, mimebox_extensions=..., mimebox_action=None, parent_thread=None, logger=None)
mimeboxactions.X2GoMIMEboxAction(client_instance=None, logger=None, loglevel=56)
mimeboxactions.X2GoMIMEboxAction.do_process(mimebox_file, mimebox_dir)
mimeboxactions.X2GoMIMEboxAction._do_process(mimebox_file, mimebox_dir)
mimeboxactions.X2GoMIMEboxActionOPEN(client_instance=None, logger=None, loglevel=56)
mimeboxactions.X2GoMIMEboxActionOPENWITH(client_instance=None, logger=None, loglevel=56)
mimeboxactions.X2GoMIMEboxActionSAVEAS(client_instance=None, logger=None, loglevel=56)
printactions.X2GoPrintAction(client_instance=None, logger=None, loglevel=56)
printactions.X2GoPrintAction.do_print(pdf_file, job_title, spool_dir)
printactions.X2GoPrintAction._do_print(pdf_file, job_title, spool_dir)
printactions.X2GoPrintAction._humanreadable_filename(pdf_file, job_title, target_path)
printactions.X2GoPrintActionPDFVIEW(client_instance=None, pdfview_cmd=None, logger=None, loglevel=56)
printactions.X2GoPrintActionPDFSAVE(client_instance=None, save_to_folder=None, logger=None, loglevel=56)
printactions.X2GoPrintActionPRINT(client_instance=None, printer=None, logger=None, loglevel=56)
printactions.X2GoPrintActionPRINTCMD(client_instance=None, print_cmd=None, logger=None, loglevel=56)
printactions.X2GoPrintActionDIALOG(client_instance=None, logger=None, loglevel=56)
printqueue.X2GoPrintJob(**kwargs)
printqueue.X2GoPrintQueue(profile_name='UNKNOWN', session_name='UNKNOWN', spool_dir=None, print_action=None, print_action_args=..., client_instance=None, printing_backend='FILE', logger=None, loglevel=56)
printqueue.X2GoPrintQueue.pause()
printqueue.X2GoPrintQueue.resume()
printqueue.X2GoPrintQueue.stop_thread()
printqueue.X2GoPrintQueue.set_print_action(print_action, **kwargs)
printqueue.X2GoPrintQueue.run()
printqueue.x2go_printjob_handler(job_file=None, pdf_file=None, job_title=None, print_action=None, parent_thread=None, logger=None)
pulseaudio.X2GoPulseAudio(path=None, client_instance=None, logger=None, loglevel=56)
pulseaudio.X2GoPulseAudio.run()
pulseaudio.X2GoPulseAudio.stop_thread()
registry.X2GoSessionRegistry(client_instance, logger=None, loglevel=56)
registry.X2GoSessionRegistry.keys()
registry.X2GoSessionRegistry.__call__(session_uuid)
registry.X2GoSessionRegistry.disable_session_auto_registration()
registry.X2GoSessionRegistry.enable_session_auto_registration()
registry.X2GoSessionRegistry.forget(session_uuid)
registry.X2GoSessionRegistry.get_profile_id(session_uuid)
registry.X2GoSessionRegistry.get_profile_name(session_uuid)
registry.X2GoSessionRegistry.session_summary(session_uuid, status_only=False)
registry.X2GoSessionRegistry.update_status(session_uuid=None, profile_name=None, profile_id=None, session_list=None, force_update=False, newly_connected=False)
registry.X2GoSessionRegistry.register_available_server_sessions(profile_name, session_list=None, newly_connected=False, re_register=False, skip_pubapp_sessions=False)
registry.X2GoSessionRegistry.register(server, profile_id, profile_name, session_name=None, control_backend='PLAIN', terminal_backend='PLAIN', info_backend='PLAIN', list_backend='PLAIN', proxy_backend='NX3', settings_backend='FILE', printing_backend='FILE', client_rootdir=..., sessions_rootdir=..., ssh_rootdir=..., keep_controlsession_alive=True, add_to_known_hosts=False, known_hosts=None, **kwargs)
registry.X2GoSessionRegistry.has_session_of_session_name(session_name, match_profile_name=None)
registry.X2GoSessionRegistry.get_session_of_session_name(session_name, return_object=False, match_profile_name=None)
registry.X2GoSessionRegistry._sessionsWithState(state, return_objects=True, return_profile_names=False, return_profile_ids=False, return_session_names=False)
registry.X2GoSessionRegistry.connected_sessions(return_objects=True, return_profile_names=False, return_profile_ids=False, return_session_names=False)
registry.X2GoSessionRegistry.associated_sessions(return_objects=True, return_profile_names=False, return_profile_ids=False, return_session_names=False)
registry.X2GoSessionRegistry.virgin_sessions(return_objects=True, return_profile_names=False, return_profile_ids=False, return_session_names=False)
registry.X2GoSessionRegistry.running_sessions(return_objects=True, return_profile_names=False, return_profile_ids=False, return_session_names=False)
registry.X2GoSessionRegistry.suspended_sessions(return_objects=True, return_profile_names=False, return_profile_ids=False, return_session_names=False)
registry.X2GoSessionRegistry.terminated_sessions(return_objects=True, return_profile_names=False, return_profile_ids=False, return_session_names=False)
registry.X2GoSessionRegistry.registered_sessions(return_objects=True, return_profile_names=False, return_profile_ids=False, return_session_names=False)
registry.X2GoSessionRegistry.non_running_sessions(return_objects=True, return_profile_names=False, return_profile_ids=False, return_session_names=False)
registry.X2GoSessionRegistry.connected_sessions_of_profile_name(profile_name, return_objects=True, return_session_names=False)
registry.X2GoSessionRegistry.associated_sessions_of_profile_name(profile_name, return_objects=True, return_session_names=False)
registry.X2GoSessionRegistry.pubapp_sessions_of_profile_name(profile_name, return_objects=True, return_session_names=False)
registry.X2GoSessionRegistry.registered_sessions_of_profile_name(profile_name, return_objects=True, return_session_names=False)
registry.X2GoSessionRegistry.virgin_sessions_of_profile_name(profile_name, return_objects=True, return_session_names=False)
registry.X2GoSessionRegistry.running_sessions_of_profile_name(profile_name, return_objects=True, return_session_names=False)
registry.X2GoSessionRegistry.suspended_sessions_of_profile_name(profile_name, return_objects=True, return_session_names=False)
registry.X2GoSessionRegistry.control_session_of_profile_name(profile_name)
registry.X2GoSessionRegistry.connected_profiles(use_paramiko=False, return_profile_ids=True, return_profile_names=False)
registry.X2GoSessionRegistry.get_master_session(profile_name, return_object=True, return_session_name=False)
guardian.X2GoSessionGuardian(client_instance, auto_update_listsessions_cache=False, auto_update_listdesktops_cache=False, auto_update_listmounts_cache=False, auto_update_sessionregistry=False, auto_register_sessions=False, no_auto_reg_pubapp_sessions=False, refresh_interval=5, logger=None, loglevel=56)
guardian.X2GoSessionGuardian.guardian()
guardian.X2GoSessionGuardian.stop_thread()
cache.X2GoListSessionsCache(client_instance, logger=None, loglevel=56)
cache.X2GoListSessionsCache.delete(profile_name)
cache.X2GoListSessionsCache.check_cache()
cache.X2GoListSessionsCache.update_all(update_sessions=True, update_desktops=False)
cache.X2GoListSessionsCache.update(profile_name, update_sessions=True, update_desktops=False, update_mounts=False)
cache.X2GoListSessionsCache._update_mounts(profile_name, control_session)
cache.X2GoListSessionsCache._update_desktops(profile_name, control_session)
cache.X2GoListSessionsCache._update_sessions(profile_name, control_session)
cache.X2GoListSessionsCache.list_sessions(session_uuid)
cache.X2GoListSessionsCache.list_desktops(session_uuid)
cache.X2GoListSessionsCache.list_mounts(session_uuid)
cache.X2GoListSessionsCache.is_cached(profile_name=None, session_uuid=None, cache_type=None)
utils.ProgressStatus(progress_event, progress_func=...)
utils.is_in_nx3packmethods(method)
utils.find_session_line_in_x2golistsessions(session_name, stdout)
utils.slugify(value)
utils._genSessionProfileId()
utils._checkIniFileDefaults(data_structure)
utils._checkSessionProfileDefaults(data_structure)
utils._convert_SessionProfileOptions_2_SessionParams(options)
utils.session_names_by_timestamp(session_infos)
utils.touch_file(filename, mode='a')
utils.unique(seq)
utils.known_encodings()
utils.patiently_remove_file(dirname, filename)
utils.detect_unused_port(bind_address='127.0.0.1', preferred_port=None)
utils.get_encoding()
utils.is_abs_path(path)
utils.xkb_rules_names()
utils.local_color_depth()
utils.is_color_depth_ok(depth_session, depth_local)
utils.find_session_window(session_name)
utils.get_desktop_geometry()
utils.get_workarea_geometry()
utils.set_session_window_title(session_window, session_title)
utils.raise_session_window(session_window)
utils.merge_ordered_lists(l1, l2)
utils.compare_versions(version_a, op, version_b)
utils._get_backend_class(backend, class_name)
utils.genkeypair(local_username, client_address, key_type='RSA')
utils.which(basename)
"""  # noqa: E501 - one line for a callable
PROPERTIES = """
xserver.X2GoClientXConfig.known_xservers xserver.X2GoClientXConfig.installed_xservers
xserver.X2GoClientXConfig.running_xservers xserver.X2GoClientXConfig.xserver_launch_possible
xserver.X2GoClientXConfig.xserver_launch_needed xserver.X2GoClientXConfig.preferred_xserver
xserver.X2GoClientXConfig.preferred_xserver_names
client.X2GoClient.has_custom_client_rootdir
client.X2GoClient.client_has_connected_sessions
client.X2GoClient.client_has_associated_sessions
client.X2GoClient.client_has_running_sessions
client.X2GoClient.client_has_suspended_sessions
client.X2GoClient.client_control_sessions
client.X2GoClient.profile_names
registry.X2GoSessionRegistry.has_running_sessions
registry.X2GoSessionRegistry.has_suspended_sessions
registry.X2GoSessionRegistry.connected_control_sessions
backends.profiles.base.X2GoSessionProfiles.profile_ids
backends.profiles.base.X2GoSessionProfiles.profile_names
backends.printing.file.X2GoClientPrinting.print_action
inifiles.X2GoIniFile.printable_config_file
mimebox.X2GoMIMEboxQueue._incoming_mimebox_jobs
mimeboxactions.X2GoMIMEboxAction.name
mimeboxactions.X2GoMIMEboxAction.description
printactions.X2GoPrintAction.name
printactions.X2GoPrintAction.description
printqueue.X2GoPrintQueue._incoming_print_jobs
"""
CLIENT_ALIASES = """
get_client_rootdir has_custom_client_rootdir get_sessions_rootdir get_ssh_rootdir get_client_username
register_all_session_profiles register_session get_session_summary get_session_username get_session_server_peername
get_session_server_hostname get_session get_session_of_session_name get_session_name get_session_info
get_published_applications profile_get_published_applications set_session_username check_session_host
session_reuses_sshproxy_authinfo session_uses_sshproxy session_can_sshproxy_auto_connect session_can_auto_connect
session_auto_connect connect_session disconnect_session set_session_print_action set_session_window_title
raise_session_window session_auto_start_or_resume start_session share_desktop_session resume_session suspend_session
terminate_session get_session_profile_name get_session_profile_id session_ok is_session_connected is_profile_connected
is_session_profile is_session_running is_session_suspended has_session_terminated is_folder_sharing_available
profile_is_folder_sharing_available session_is_folder_sharing_available share_local_folder
share_local_folder_with_session share_local_folder_with_profile unshare_all_local_folders_from_session
unshare_all_local_folders_from_profile unshare_local_folder_from_session unshare_local_folder_from_profile
session_get_shared_folders profile_get_shared_folders get_master_session profile_master_session
client_connected_sessions client_has_connected_sessions client_associated_sessions client_has_associated_sessions
client_running_sessions client_has_running_sessions client_suspended_sessions client_has_suspended_sessions
client_registered_sessions client_control_sessions client_control_session_of_profile_name get_server_versions
get_server_components get_server_features has_server_feature client_registered_session_of_name
client_has_registered_session_of_name client_registered_sessions_of_profile_name
client_connected_sessions_of_profile_name client_associated_sessions_of_profile_name
client_pubapp_sessions_of_profile_name client_running_sessions_of_profile_name
client_suspended_sessions_of_profile_name server_is_alive all_servers_are_alive server_valid_x2gouser
server_running_sessions server_has_running_sessions server_has_running_session_of_name server_suspended_sessions
server_has_suspended_sessions server_has_suspended_session_of_name clean_sessions list_sessions list_desktops
list_mounts_by_profile_name list_mounts get_profiles profile_names get_client_settings get_client_printing
get_profile_config set_profile_config to_profile_id to_profile_name get_profile_metatype client_connected_profiles
disconnect_profile update_sessionregistry_status_by_profile_name update_sessionregistry_status_by_session_uuid
update_sessionregistry_status_all_profiles update_cache_by_profile_name update_cache_by_session_uuid
update_cache_all_profiles register_available_server_sessions_by_profile_name
register_available_server_sessions_by_session_uuid register_available_server_sessions_all_profiles
"""
OLD_NAMES = {
    "X2goClient": "X2GoClient",
    "X2goClientPrinting": "X2GoClientPrinting",
    "X2goClientSettings": "X2GoClientSettings",
    "X2goLogger": "X2GoLogger",
    "X2goSession": "X2GoSession",
    "X2goSessionProfiles": "X2GoSessionProfiles",
    "backends.control.plain.X2GoControlSessionSTDOUT": "backends.control.plain.X2GoControlSession",
    "backends.info.plain.X2GoServerSessionInfoSTDOUT": "X2GoServerSessionInfo",
    "backends.info.plain.X2GoServerSessionListSTDOUT": "X2GoServerSessionList",
    "backends.terminal.plain.X2GoTerminalSessionSTDOUT": "backends.terminal.plain.X2GoTerminalSession",
    "backends.proxy.base.X2GoProxyBASE": "backends.proxy.base.X2GoProxy",
    "backends.proxy.nx3.X2GoProxyNX3": "backends.proxy.nx3.X2GoProxy",
    "backends.proxy.kdrive.X2GoProxyKDRIVE": "backends.proxy.kdrive.X2GoProxy",
    "sshproxy.X2goSSHProxy": "sshproxy.X2GoSSHProxy",
    "backends.profiles.httpbroker.X2GoSessionProfilesHTTPSBROKER": "backends.profiles.httpbroker.X2GoSessionProfiles",
    "backends.printing.file.X2GoClientPrintingFILE": "X2GoClientPrinting",
    "backends.profiles.file.X2GoSessionProfilesFILE": "X2GoSessionProfiles",
    "backends.settings.file.X2GoClientSettingsFILE": "X2GoClientSettings",
}
DEFAULTS = {
    "X2GO_SHARE_VIEWONLY": 0,
    "X2GO_SHARE_FULLACCESS": 1,
    "PUBAPP_MAX_NO_SUBMENUS": 10,
    "DEFAULT_PDFVIEW_CMD": "xdg-open",
    "DEFAULT_PDFSAVE_LOCATION": "PDF",
    "DEFAULT_PRINTCMD_CMD": "lpr",
    "ROOT_DIR": "/",
    "ETC_DIR": "/etc/x2goclient",
    "X2GO_CLIENT_ROOTDIR": ".x2goclient",
    "X2GO_SESSIONS_ROOTDIR": ".x2go",
    "X2GO_SSH_ROOTDIR": ".ssh",
    "X2GO_GENERIC_APPLICATIONS": ["WWWBROWSER", "MAILCLIENT", "OFFICE", "TERMINAL"],
    "X2GO_CLIENTPRINTING_DEFAULTS": {
        "General": {"showdialog": False, "pdfview": True},
        "print": {"startcmd": False, "command": "lpr", "stdin": False, "ps": False},
        "save": {"folder": "PDF"},
        "view": {"open": True, "command": "xdg-open"},
        "CUPS": {"defaultprinter": "PDF"},
    },
    "X2GO_CLIENTSETTINGS_DEFAULTS": {
        "LDAP": {"useldap": False, "port": 389, "server": "localhost", "port1": 0, "port2": 0},
        "General": {"clientport": 22, "autoresume": True},
        "Authorization": {"newprofile": True, "suspend": True, "editprofile": True, "resume": True},
        "trayicon": {"enabled": True, "mintotray": True, "noclose": True, "mincon": True, "maxdiscon": True},
    },
    "X2GO_PRINT_ACTIONS": {
        "PDFVIEW": "X2GoPrintActionPDFVIEW",
        "PDFSAVE": "X2GoPrintActionPDFSAVE",
        "PRINT": "X2GoPrintActionPRINT",
        "PRINTCMD": "X2GoPrintActionPRINTCMD",
        "DIALOG": "X2GoPrintActionDIALOG",
    },
    "X2GO_MIMEBOX_ACTIONS": {
        "OPEN": "X2GoMIMEboxActionOPEN",
        "OPENWITH": "X2GoMIMEboxActionOPENWITH",
        "SAVEAS": "X2GoMIMEboxActionSAVEAS",
    },
}
PROFILE = {
    "autologin": True,
    "autoconnect": False,
    "autostart": False,
    "setsessiontitle": False,
    "sessiontitle": "",
    "speed": 2,
    "pack": "16m-jpeg",
    "quality": 9,
    "iconvto": "UTF-8",
    "iconvfrom": "UTF-8",
    "useiconv": False,
    "usesshproxy": False,
    "sshproxyhost": "proxyhost.mydomain",
    "sshproxyport": 22,
    "sshproxyuser": "",
    "sshproxykeyfile": "",
    "sshproxytype": "SSH",
    "sshproxysameuser": False,
    "sshproxysamepass": False,
    "sshproxyautologin": True,
    "uniquehostkeyaliases": False,
    "useexports": True,
    "restoreexports": False,
    "fstunnel": True,
    "export": {},
    "usemimebox": False,
    "mimeboxextensions": "",
    "mimeboxaction": "OPEN",
    "fullscreen": False,
    "clipboard": "both",
    "width": 800,
    "height": 600,
    "maxdim": False,
    "dpi": 96,
    "setdpi": False,
    "xinerama": False,
    "multidisp": False,
    "display": 1,
    "usekbd": True,
    "layout": "us",
    "type": "pc105/us",
    "variant": "",
    "sound": False,
    "soundsystem": "pulse",
    "startsoundsystem": False,
    "soundtunnel": True,
    "defsndport": True,
    "sndport": 4713,
    "name": "NEW_PROFILE",
    "icon": ":icons/128x128/x2gosession.png",
    "host": ["server.mydomain"],
    "key": "",
    "sshport": 22,
    "krblogin": False,
    "forwardsshagent": False,
    "rootless": True,
    "applications": ["WWWBROWSER", "MAILCLIENT", "OFFICE", "TERMINAL"],
    "command": "TERMINAL",
    "published": False,
    "directrdp": False,
    "directrdpsettings": "",
    "rdpclient": "rdesktop",
    "rdpport": 3389,
    "rdpoptions": "-u X2GO_USER -p X2GO_PASSWORD",
    "rdpserver": "",
    "print": False,
    "xdmcpserver": "localhost",
    "kdrive": False,
}


@pytest.mark.parametrize("line", PUBLISHED.split("\n")[1:-1], ids=lambda line: line.partition("(")[0])
def test_signature(line: str) -> None:
    path, wanted = published(line)
    got = list(OURS.signature(path).parameters.values())
    variable = [one for one in got if one.kind is one.VAR_KEYWORD]
    plain = [one for one in got if one.kind is one.POSITIONAL_OR_KEYWORD]
    theirs = [one for one in wanted.parameters.values() if one.kind is one.POSITIONAL_OR_KEYWORD]
    assert [one.name for one in plain[: len(theirs)]] == [one.name for one in theirs]
    for ours, their in zip(plain, theirs, strict=False):
        if their.default is ...:
            assert ours.default is not inspect.Parameter.empty
        else:
            assert ours.default == their.default
    assert bool(variable) == any(one.kind is one.VAR_KEYWORD for one in wanted.parameters.values())
    assert all(one.default is not inspect.Parameter.empty for one in plain[len(theirs) :])


@pytest.mark.parametrize("path", PROPERTIES.split())
def test_properties(path: str) -> None:
    assert isinstance(OURS.find(path), property)


@pytest.mark.parametrize("old", OLD_NAMES)
def test_old_names(old: str) -> None:
    assert OURS.find(old) is OURS.find(OLD_NAMES[old])


@pytest.mark.parametrize("name", CLIENT_ALIASES.split())
def test_private_aliases_of_the_client(name: str) -> None:
    private = {
        "profile_is_folder_sharing_available": "is_folder_sharing_available",
        "session_is_folder_sharing_available": "is_folder_sharing_available",
        "share_local_folder_with_session": "share_local_folder",
        "share_local_folder_with_profile": "share_local_folder",
    }
    client = OURS.find("client.X2GoClient")
    found = inspect.getattr_static(client, f"_X2GoClient__{name}")
    assert found is inspect.getattr_static(client, private.get(name, name))


def test_public_aliases_of_the_client() -> None:
    client = OURS.find("client.X2GoClient")
    assert client.with_session is client.get_session
    assert client.profile_get_published_applications is client.get_published_applications
    assert client.unshare_all_local_folders_from_session is client.unshare_all_local_folders
    assert client.unshare_all_local_folders_from_profile is client.unshare_all_local_folders
    assert client.unshare_local_folder_from_session is client.unshare_local_folder
    assert client.unshare_local_folder_from_profile is client.unshare_local_folder
    assert client.session_get_shared_folders is client.profile_get_shared_folders is client.get_shared_folders
    assert client.profile_master_session is client.get_master_session
    assert client.get_server_components is client.get_server_versions
    assert client.get_session_profiles is client.get_profiles
    assert client.with_profile_config is client.get_profile_config


def test_private_aliases_that_applications_use() -> None:
    node = OURS.find("inifiles.X2GoIniFile")
    assert node._X2GoIniFile__update_value is node.update_value
    assert node._X2GoIniFile__write is node.write
    assert node.__call__ is node.get is node.get_value
    assert OURS.find("log.X2GoLogger").__call__ is OURS.find("log.X2GoLogger").message


@pytest.mark.parametrize("name", DEFAULTS)
def test_constants(name: str) -> None:
    assert getattr(defaults, name) == DEFAULTS[name]
    assert copy.deepcopy(getattr(defaults, name)) == DEFAULTS[name]


def test_the_options_of_a_profile() -> None:
    found = defaults.X2GO_SESSIONPROFILE_DEFAULTS
    assert {key: found[key] for key in PROFILE} == PROFILE
    assert {key: type(found[key]) for key in PROFILE} == {key: type(value) for key, value in PROFILE.items()}
    found["host"].append("changed")
    assert defaults.X2GO_SESSIONPROFILE_DEFAULTS["host"] == ["server.mydomain"]


def test_what_is_looked_up_on_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/pat")
    monkeypatch.setenv("LOGNAME", "pat")
    monkeypatch.delenv("DISPLAY", raising=False)
    assert (defaults.LOCAL_HOME, defaults.CURRENT_LOCAL_USER, defaults.X_DISPLAY) == ("/home/pat", "pat", None)
    files = ["/home/pat/.x2goclient/sessions", "/etc/x2goclient/sessions"]
    assert files == defaults.X2GO_SESSIONPROFILES_CONFIGFILES
    assert defaults.X2GO_SESSIONPROFILE_DEFAULTS["user"] == "pat"
    with pytest.raises(AttributeError, match="X2GO_NOTHING"):
        defaults.__getattr__("X2GO_NOTHING")


def test_the_backends_are_there() -> None:
    for name, modules in defaults.BACKENDS.items():
        assert modules["default"] in modules
        for backend in set(modules) - {"default"}:
            assert hasattr(importlib.import_module(modules[backend]), name)


def test_pack_methods() -> None:
    assert len(defaults.pack_methods_nx3) == 136
    assert "16m-jpeg-9" in defaults.pack_methods_nx3
    assert "16m-jpeg-[0-9]" in defaults.pack_methods_nx3_formatted


IMPORT = """
import importlib, json, os, pkgutil, socket, subprocess, sys, threading, time, warnings
warnings.simplefilter("error")
before = socket.socket, time.sleep, threading.Lock, os.fork, subprocess.Popen
descriptors = len(os.listdir("/proc/self/fd"))
import crl.x2go
early = sorted({"paramiko", "gevent", "Xlib"} & set(sys.modules))
names = [module.name for module in pkgutil.walk_packages(crl.x2go.__path__, "crl.x2go.")]
for name in names:
    importlib.import_module(name)
print(json.dumps({
    "early": early, "modules": len(names), "gevent": "gevent" in sys.modules,
    "patched": before != (socket.socket, time.sleep, threading.Lock, os.fork, subprocess.Popen),
    "threads": threading.active_count(), "descriptors": len(os.listdir("/proc/self/fd")) - descriptors,
    "home": os.listdir(os.environ["HOME"]),
}))
"""


def test_importing_has_no_side_effect(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DISPLAY", ":65000")  # whoever asks for it gets an error
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, timeout=60, check=True)
    found = json.loads(done.stdout)
    assert found.pop("modules") > 40
    nothing = {"early": [], "gevent": False, "patched": False, "threads": 1, "descriptors": 0, "home": []}
    assert found == nothing
    assert done.stderr == ""


def test_everything_is_an_exception() -> None:
    for name in x2go_exceptions.__all__:
        assert issubclass(getattr(x2go_exceptions, name), Exception)
