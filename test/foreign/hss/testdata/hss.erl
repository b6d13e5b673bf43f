%% A home subscriber server of foreign parts: Erlang/OTP's Diameter carries it, osmo-auc-gen computes for it. What is
%% written here is the table of subscribers and the procedures of TS 29.228 6 between the two.
%%
%% Its standard input is one Erlang term a line, see command/1; each is answered by a line that begins with "= ".
%% Lines that begin with "! " tell what happens: a request and how it was answered, a peer that comes or goes.

-module(hss).
-export([main/0]).
-export([peer_up/3, peer_down/3, pick_peer/4, prepare_request/3, prepare_retransmit/3, handle_request/3, handle_answer/4, handle_error/4]).

-include_lib("diameter/include/diameter.hrl").

-define(VENDOR, 10415).
-define(CX, 16777216).
-define(VSAI, #{'Vendor-Id' => ?VENDOR, 'Auth-Application-Id' => [?CX]}).

%% Result-Code, and Experimental-Result of 3GPP (TS 29.229 6.2).
-define(SUCCESS, {base, 2001}).
-define(UNABLE_TO_COMPLY, {base, 5012}).
-define(FIRST_REGISTRATION, {tgpp, 2001}).
-define(SUBSEQUENT_REGISTRATION, {tgpp, 2002}).
-define(USER_UNKNOWN, {tgpp, 5001}).
-define(IDENTITIES_DONT_MATCH, {tgpp, 5002}).
-define(IDENTITY_NOT_REGISTERED, {tgpp, 5003}).
-define(AUTH_SCHEME_NOT_SUPPORTED, {tgpp, 5006}).

main() ->
    ets:new(subscriber, [named_table, public]), % {Impi, Impus, K, OPc, AMF, Barred}
    ets:new(identity, [named_table, public]),   % {Impu, Impi}
    ets:new(sequence, [named_table, public]),   % {Impi, SEQ}
    ets:new(assigned, [named_table, public]),   % {Impi, SIP name of the S-CSCF, its host, registered | pending}
    ets:new(fault, [named_table, public, bag]), % {Command, Fault}: what is wrong with its next answer
    ets:new(setting, [named_table, public]),
    io:setopts([{encoding, latin1}]),
    serve().

serve() ->
    case io:get_line("") of
        eof -> halt(0, [{flush, false}]);
        Line ->
            {ok, Tokens, _} = erl_scan:string(Line),
            {ok, Term} = erl_parse:parse_term(Tokens),
            io:format("= ~s~n", [said(catch command(Term))]),
            serve()
    end.

said({'EXIT', Why}) -> io_lib:format("failed ~0p", [Why]);
said(Term) -> io_lib:format("~0p", [Term]).

%% What the test may ask for.
command({start, Settings}) ->
    ets:insert(setting, maps:to_list(Settings)),
    {ok, _} = application:ensure_all_started(ssl),
    ok = diameter:start(),
    ok = diameter:start_service(hss, [
        {'Origin-Host', setting(host)}, {'Origin-Realm', setting(realm)}, {'Host-IP-Address', [setting(ip)]},
        {'Vendor-Id', 193}, {'Product-Name', "OTP"}, {'Origin-State-Id', diameter:origin_state_id()}, {'Supported-Vendor-Id', [?VENDOR]},
        {'Vendor-Specific-Application-Id', [maps:to_list(?VSAI)]},
        {decode_format, map}, {string_decode, false}, {traffic_counters, false},
        {application, [{alias, common}, {dictionary, diameter_gen_base_rfc6733}, {module, diameter_callback}]},
        {application, [{alias, cx}, {dictionary, cx}, {module, hss}, {request_errors, callback}, {answer_errors, callback}]}]),
    {ok, _} = diameter:add_transport(hss, {listen, [{transport_module, diameter_tcp}, {watchdog_timer, setting(watchdog)},
        {transport_config, [{reuseaddr, true}, {ip, setting(ip)}, {port, setting(port)} | security(setting(tls))]}]}),
    ok;
command({add, Impi, Impus, K, OPc, AMF}) ->
    [I | Us] = [list_to_binary(X) || X <- [Impi | Impus]],
    ets:insert(subscriber, {I, Us, K, OPc, AMF, false}),
    ets:insert(identity, [{U, I} || U <- Us]),
    ets:insert(sequence, {I, setting(sequence)}),
    ok;
command({fault, Command, Fault}) ->
    ets:insert(fault, {Command, Fault}),
    ok;
command({forget, Impi}) -> % as if nobody served him: what a backup may not have heard
    ets:delete(assigned, list_to_binary(Impi)),
    ok;
command({rtr, Impi, Reason, Info}) ->
    I = list_to_binary(Impi),
    Answer = push('RTR', I, #{'Deregistration-Reason' => #{'Reason-Code' => Reason, 'Reason-Info' => [list_to_binary(Info)]}}),
    ets:delete(assigned, I),
    Answer;
command({ppr, Impi, Barred}) ->
    I = list_to_binary(Impi),
    ets:update_element(subscriber, I, {6, Barred}),
    push('PPR', I, #{'User-Data' => [profile(I)], 'Charging-Information' => [charging()]});
command({ppr_data, Impi, Octets}) ->
    push('PPR', list_to_binary(Impi), #{'User-Data' => [list_to_binary(Octets)]}).

setting(Name) -> ets:lookup_element(setting, Name, 2).

%% TLS stands before the first octet of Diameter (RFC 6733 2.1), and both ends show a certificate.
security(clear) -> [];
security({Certificate, Key, Authority}) ->
    [{ssl_options, true}, {certfile, Certificate}, {keyfile, Key}, {cacertfile, Authority}, {verify, verify_peer},
     {fail_if_no_peer_cert, true}, {versions, ['tlsv1.3']}].

%% Callbacks of the stack.
peer_up(_Service, {_, Caps}, State) -> tell("up ~s", [peer(Caps)]), State.
peer_down(_Service, {_, Caps}, State) -> tell("down ~s", [peer(Caps)]), State.
pick_peer([Peer | _], _, _Service, _State) -> {ok, Peer};
pick_peer([], _, _Service, _State) -> false.
prepare_request(#diameter_packet{msg = Request}, _Service, _Peer) -> {send, Request}.
prepare_retransmit(Packet, _Service, _Peer) -> {send, Packet}.
handle_answer(#diameter_packet{msg = [_ | Answer], errors = Errors}, _Request, _Service, _Peer) -> {result(Answer), Errors};
handle_answer(#diameter_packet{errors = Errors}, _Request, _Service, _Peer) -> {unreadable, Errors}.
handle_error(Reason, _Request, _Service, _Peer) -> {error, Reason}.

peer(#diameter_caps{origin_host = {_, Host}}) -> Host.

%% A request that the stack or the dictionary finds wrong is told of, and refused.
handle_request(#diameter_packet{errors = [_ | _] = Errors, header = Header}, _Service, {_, Caps}) ->
    tell("wrong ~p from ~s: ~0p", [Header#diameter_header.cmd_code, peer(Caps), Errors]),
    {answer_message, 5012};
handle_request(#diameter_packet{msg = [Command | Request], header = Header}, _Service, {_, Caps}) ->
    {Result, Elements} = answer(Command, Request),
    tell("~s ~s ~s from ~s: ~0p", [Command, what(Command, Request), one(Request, 'User-Name', <<"-">>), peer(Caps), Result]),
    reply(Command, Header, [answer_of(Command) | maps:merge(head(Request, Result), Elements)]);
handle_request(Packet, _Service, _Peer) ->
    tell("wrong ~0p", [Packet]),
    discard.

what('UAR', R) -> io_lib:format("type ~p", [one(R, 'User-Authorization-Type', 0)]);
what('SAR', R) -> io_lib:format("type ~p", [one(R, 'Server-Assignment-Type', 0)]);
what('MAR', R) ->
    case one(one(R, 'SIP-Auth-Data-Item', #{}), 'SIP-Authorization', none) of
        none -> "vector";
        _ -> "resynchronisation"
    end;
what('LIR', R) -> one(R, 'Public-Identity', <<>>).

answer_of('UAR') -> 'UAA';
answer_of('SAR') -> 'SAA';
answer_of('LIR') -> 'LIA';
answer_of('MAR') -> 'MAA'.

head(Request, Result) ->
    maps:merge(#{'Session-Id' => maps:get('Session-Id', Request), 'Vendor-Specific-Application-Id' => ?VSAI, 'Auth-Session-State' => 1,
        'Origin-Host' => setting(host), 'Origin-Realm' => setting(realm)}, code(Result)).

code({base, Code}) -> #{'Result-Code' => [Code]};
code({tgpp, Code}) -> #{'Experimental-Result' => [#{'Vendor-Id' => ?VENDOR, 'Experimental-Result-Code' => Code}]}.

result(#{'Result-Code' := [Code]}) -> {base, Code};
result(#{'Result-Code' := Code}) -> {base, Code};
result(#{'Experimental-Result' := [#{'Experimental-Result-Code' := Code}]}) -> {tgpp, Code};
result(_) -> none.

%% one reads an AVP, which the stack gives as a value or in a list.
one(Avps, Name, Default) ->
    case maps:get(Name, Avps, Default) of
        [Value | _] -> Value;
        [] -> Default;
        Value -> Value
    end.

%% The procedures: Registration authorisation (TS 29.228 6.1.1).
answer('UAR', R) ->
    I = one(R, 'User-Name', <<>>),
    case known(I, one(R, 'Public-Identity', <<>>)) of
        yes ->
            case {ets:lookup(assigned, I), one(R, 'User-Authorization-Type', 0)} of
                {[{_, Name, _, _}], 1} -> {?SUCCESS, #{'Server-Name' => [Name]}};
                {[], 1} -> {?IDENTITY_NOT_REGISTERED, #{}};
                {[{_, Name, _, registered}], _} -> {?SUBSEQUENT_REGISTRATION, #{'Server-Name' => [Name]}};
                {[{_, Name, _, pending}], _} -> {?SUBSEQUENT_REGISTRATION, #{'Server-Name' => [Name]}};
                {[], _} -> {?FIRST_REGISTRATION, #{'Server-Capabilities' => [#{}]}}
            end;
        No -> {No, #{}}
    end;

%% Location information (TS 29.228 6.1.4).
answer('LIR', R) ->
    case ets:lookup(identity, one(R, 'Public-Identity', <<>>)) of
        [{_, I}] ->
            case ets:lookup(assigned, I) of
                [{_, Name, _, registered}] -> {?SUCCESS, #{'Server-Name' => [Name]}};
                _ -> {?IDENTITY_NOT_REGISTERED, #{}}
            end;
        [] -> {?USER_UNKNOWN, #{}}
    end;

%% Authentication (TS 29.228 6.3).
answer('MAR', R) ->
    I = one(R, 'User-Name', <<>>),
    U = one(R, 'Public-Identity', <<>>),
    Item = one(R, 'SIP-Auth-Data-Item', #{}),
    case {known(I, U), one(Item, 'SIP-Authentication-Scheme', <<>>)} of
        {yes, Scheme} when Scheme == <<"Digest-AKAv1-MD5">>; Scheme == <<"Unknown">> ->
            case vector(I, one(Item, 'SIP-Authorization', none)) of
                {ok, Vector} ->
                    assign(I, one(R, 'Server-Name', <<>>), one(R, 'Origin-Host', <<>>), pending),
                    {?SUCCESS, #{'User-Name' => [I], 'Public-Identity' => [U], 'SIP-Number-Auth-Items' => [1], 'SIP-Auth-Data-Item' => [Vector]}};
                forged -> {?UNABLE_TO_COMPLY, #{}}
            end;
        {yes, _} -> {?AUTH_SCHEME_NOT_SUPPORTED, #{}};
        {No, _} -> {No, #{}}
    end;

%% Registration and de-registration notification (TS 29.228 6.1.2).
answer('SAR', R) ->
    U = one(R, 'Public-Identity', <<>>),
    I = case ets:lookup(identity, U) of
        [{_, Of}] -> one(R, 'User-Name', Of);
        [] -> one(R, 'User-Name', <<>>)
    end,
    case known(I, U) of
        yes ->
            case one(R, 'Server-Assignment-Type', 0) of
                T when T == 1; T == 2; T == 3 -> assign(I, one(R, 'Server-Name', <<>>), one(R, 'Origin-Host', <<>>), registered);
                T when T == 4; T == 5; T == 8; T == 9; T == 10; T == 11 -> leave(I, T);
                _ -> ok
            end,
            Data = case one(R, 'User-Data-Already-Available', 0) of
                0 -> #{'User-Data' => [profile(I)], 'Charging-Information' => [charging()]};
                1 -> #{}
            end,
            {?SUCCESS, Data#{'User-Name' => [I]}};
        No -> {No, #{}}
    end.

known(I, U) ->
    case {ets:member(subscriber, I), ets:lookup(identity, U)} of
        {true, [{_, I}]} -> yes;
        {true, [_]} -> ?IDENTITIES_DONT_MATCH;
        {_, _} -> ?USER_UNKNOWN
    end.

%% assign notes who serves a subscriber. A challenge takes nothing from a registration.
assign(I, Name, Host, State) ->
    case {State, ets:lookup(assigned, I)} of
        {pending, [{_, _, _, registered}]} -> ok;
        _ -> ets:insert(assigned, {I, Name, Host, State})
    end.

%% leave ends it; a failed authentication ends only what was pending.
leave(I, 9) -> ets:match_delete(assigned, {I, '_', '_', pending});
leave(I, _) -> ets:delete(assigned, I).

%% vector lets osmo-auc-gen compute. After a synchronisation failure it judges AUTS first, and says where the card is.
vector(I, none) -> compute(I, ["-s", integer_to_list(next(I))], crypto:strong_rand_bytes(16));
vector(I, <<Rand:16/binary, Auts:14/binary>>) ->
    case auc(I, ["-A", hex(Auts)], Rand) of
        {ok, #{"SQN.MS" := Card}} ->
            ets:insert(sequence, {I, list_to_integer(Card) bsr 5}),
            vector(I, none);
        _ -> forged
    end;
vector(_, _) -> forged.

%% next is the next sequence number; its low bits are those of this HSS among others (TS 33.102 C.1.1.1).
next(I) -> ets:update_counter(sequence, I, 1) bsl 5 + setting(index).

compute(I, Args, Rand) ->
    {ok, V} = auc(I, Args, Rand),
    {ok, #{'SIP-Item-Number' => [1], 'SIP-Authentication-Scheme' => [<<"Digest-AKAv1-MD5">>],
        'SIP-Authenticate' => [<<Rand/binary, (octets("AUTN", V))/binary>>], 'SIP-Authorization' => [octets("RES", V)],
        'Confidentiality-Key' => [octets("CK", V)], 'Integrity-Key' => [octets("IK", V)]}}.

auc(I, Args, Rand) ->
    [{_, _, K, OPc, AMF, _}] = ets:lookup(subscriber, I),
    Port = open_port({spawn_executable, setting(auc)}, [binary, exit_status, stderr_to_stdout,
        {args, ["-3", "-a", "milenage", "-k", K, "-o", OPc, "-f", AMF, "-r", hex(Rand) | Args]}]),
    case output(Port, <<>>) of
        {0, Text} ->
            {match, Lines} = re:run(Text, "^([A-Z.]+):\t([0-9a-f]+)$", [global, multiline, {capture, all_but_first, list}]),
            {ok, maps:from_list([{Name, Value} || [Name, Value] <- Lines])};
        {_, Text} -> {error, Text}
    end.

output(Port, Text) ->
    receive
        {Port, {data, More}} -> output(Port, <<Text/binary, More/binary>>);
        {Port, {exit_status, Status}} -> {Status, Text}
    end.

hex(Octets) -> [hd(integer_to_list(N, 16)) || <<N:4>> <= Octets].
octets(Name, V) -> binary:decode_hex(list_to_binary(maps:get(Name, V))).

%% profile is User-Data (TS 29.228 Annex B).
profile(I) ->
    [{_, Us, _, _, _, Barred}] = ets:lookup(subscriber, I),
    Bar = case Barred of true -> "<BarringIndication>1</BarringIndication>"; false -> "" end,
    iolist_to_binary(["<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<IMSSubscription>\n  <PrivateID>", I, "</PrivateID>\n  <ServiceProfile>\n",
        [["    <PublicIdentity>", Bar, "<Identity>", U, "</Identity></PublicIdentity>\n"] || U <- Us],
        "  </ServiceProfile>\n</IMSSubscription>\n"]).

charging() -> #{'Primary-Charging-Collection-Function-Name' => [#diameter_uri{type = aaa, fqdn = "ccf.example.org", transport = tcp}]}.

%% push sends what the HSS says by itself to the host that serves a subscriber (TS 29.228 6.1.3, 6.2.2).
push(Command, I, Elements) ->
    [{_, _, Host, _}] = ets:lookup(assigned, I),
    diameter:call(hss, cx, [Command | maps:merge(#{'Session-Id' => diameter:session_id(setting(host)), 'Vendor-Specific-Application-Id' => ?VSAI,
        'Auth-Session-State' => 1, 'Origin-Host' => setting(host), 'Origin-Realm' => setting(realm), 'Destination-Host' => Host,
        'Destination-Realm' => setting(realm), 'User-Name' => I}, Elements)], [{filter, host}, {timeout, 5000}]).

%% reply sends an answer, or what a fault makes of it. The octets are those of the stack's encoder.
reply(Command, Header, Answer) ->
    Bits = Header#diameter_header{is_request = false, is_error = false, is_retransmitted = false},
    #diameter_packet{bin = <<Head:20/binary, Avps/binary>>} = diameter_codec:encode(cx, #diameter_packet{header = Bits, msg = Answer}),
    Faults = [F || {_, F} <- ets:take(fault, Command)],
    case lists:member(silence, Faults) of
        true -> discard;
        false -> {reply, whole(lists:foldl(fun fault/2, {Head, cut(Avps)}, Faults))}
    end.

cut(<<>>) -> [];
cut(<<_:40, Length:24, _/binary>> = Avps) ->
    Padded = (Length + 3) band bnot 3,
    <<Avp:Padded/binary, Rest/binary>> = Avps,
    [Avp | cut(Rest)].

whole({<<Version:8, _:24, Rest:16/binary>>, Avps}) ->
    Octets = iolist_to_binary(Avps),
    <<Version:8, (20 + byte_size(Octets)):24, Rest/binary, Octets/binary>>;
whole(Octets) -> Octets.

%% The faults. An AVP is found by its code.
fault({unknown, Flags}, {Head, Avps}) -> {Head, Avps ++ [avp(7777, Flags, 99999, <<"what?">>)]};
fault({unknown_in, Code, Flags}, {Head, Avps}) ->
    {Head, [inside(Code, A, fun(Inner) -> [Inner, avp(7777, Flags, 99999, <<"what?">>)] end) || A <- Avps]};
fault(backwards, {Head, [Session | Rest]}) -> {Head, [Session | lists:reverse(Rest)]}; % Session-Id has a fixed place (RFC 6733 8.8)
fault({twice, Code, Data}, {Head, Avps}) ->
    {Head, lists:append([case A of
        <<Code:32, Flags:8, _:24, V:32, _/binary>> when Flags >= 128 -> [A, avp(Code, Flags band 127, V, list_to_binary(Data))];
        <<Code:32, Flags:8, _/binary>> -> [A, avp(Code, Flags, 0, list_to_binary(Data))];
        _ -> [A]
    end || A <- Avps])};
fault({without, Code}, {Head, Avps}) -> {Head, [A || <<C:32, _/binary>> = A <- Avps, C /= Code]};
fault({overrun_in, Code}, {Head, Avps}) -> % the first AVP inside says that it is longer than the group
    {Head, [inside(Code, A, fun(<<C:32, F:8, L:24, Rest/binary>>) -> <<C:32, F:8, (L + 4096):24, Rest/binary>> end) || A <- Avps]};
fault({stunted, Code}, {Head, Avps}) -> % shorter than its own header
    {Head, [case A of <<Code:32, F:8, _:24, Rest/binary>> -> <<Code:32, F:8, 4:24, Rest/binary>>; _ -> A end || A <- Avps]};
fault(stray, {<<Version:8, Length:24, Rest/binary>>, Avps}) -> iolist_to_binary([<<Version:8, (Length band 3 + 1):24, Rest/binary>> | Avps]);
fault({protocol, Code}, {<<Version:8, Length:24, _:8, Rest/binary>>, [Session | _]}) -> % an answer-message, with the E bit (RFC 6733 7.2)
    {<<Version:8, Length:24, 16#60:8, Rest/binary>>, [Session, avp(268, 16#40, 0, <<Code:32>>), avp(264, 16#40, 0, list_to_binary(setting(host))),
        avp(296, 16#40, 0, list_to_binary(setting(realm)))]}.

inside(Code, <<Code:32, Flags:8, Length:24, V:32, Rest/binary>>, Change) ->
    Inner = binary:part(Rest, 0, Length - 12),
    avp(Code, Flags band 127, V, iolist_to_binary(Change(Inner)));
inside(_, Avp, _) -> Avp.

%% avp packs one; a vendor sets the V bit.
avp(Code, Flags, 0, Data) -> pad(<<Code:32, Flags:8, (8 + byte_size(Data)):24, Data/binary>>);
avp(Code, Flags, Vendor, Data) -> pad(<<Code:32, (Flags bor 128):8, (12 + byte_size(Data)):24, Vendor:32, Data/binary>>).

pad(Avp) -> <<Avp/binary, 0:(8 * ((4 - byte_size(Avp) band 3) band 3))>>.

tell(Format, Args) -> io:format("! " ++ Format ++ "~n", Args).
