// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.20;

/// What a factory makes: it keeps a number, calls back, runs others' code, and can end.
contract Child {
    uint256 public value;
    address public immutable maker;

    constructor(uint256 start) payable {
        require(start != 13, "unlucky");
        value = start;
        maker = msg.sender;
    }

    function set(uint256 changed) external payable {
        value = changed;
    }

    function setAndFail(uint256 changed) external {
        value = changed;
        revert("set in vain");
    }

    function end(address payable heir) external {
        selfdestruct(heir);
    }
}

/// Makes children by CREATE and CREATE2, calls them, and reaches native actors through the FEVM's precompiles.
contract Factory {
    event Made(address indexed child, uint256 start);

    uint256 public value; // the same slot as Child.value, for code run in its place

    function make(uint256 start) external payable returns (address) {
        Child child = new Child{value: msg.value}(start);
        emit Made(address(child), start);
        return address(child);
    }

    function makeAt(bytes32 salt, uint256 start) external payable returns (address) {
        Child child = new Child{salt: salt, value: msg.value}(start);
        emit Made(address(child), start);
        return address(child);
    }

    function makeOrNot(uint256 start) external returns (bool made, string memory why) {
        try new Child(start) returns (Child) {
            return (true, "");
        } catch Error(string memory reason) {
            return (false, reason);
        }
    }

    function setAnother(Child child, uint256 changed) external payable {
        child.set{value: msg.value}(changed);
    }

    function tryAnother(Child child, uint256 changed) external returns (bool done, string memory why) {
        try child.setAndFail(changed) {
            return (true, "");
        } catch Error(string memory reason) {
            return (false, reason);
        }
    }

    function borrow(address code, uint256 changed) external returns (bool done) {
        (done, ) = code.delegatecall(abi.encodeCall(Child.set, (changed)));
    }

    function callReadOnly(address child, uint256 changed) external view returns (bool done) {
        (done, ) = child.staticcall(abi.encodeCall(Child.set, (changed)));
    }

    function makeAndEnd(uint256 start, address payable heir) external payable {
        new Child{value: msg.value}(start).end(heir);
    }

    function resolve(bytes calldata filecoinAddress) external view returns (bool done, uint256 id) {
        bytes memory answer;
        (done, answer) = 0xFE00000000000000000000000000000000000001.staticcall(filecoinAddress);
        id = answer.length == 32 ? abi.decode(answer, (uint256)) : 0;
    }

    function delegatedAddress(uint64 id) external view returns (bytes memory found) {
        (, found) = 0xfE00000000000000000000000000000000000002.staticcall(abi.encode(uint256(id)));
    }

    function callActor(bytes calldata to, uint64 method, uint256 amount, bytes calldata params)
        external
        payable
        returns (int256 exitCode, uint64 codec, bytes memory data)
    {
        uint64 given = params.length == 0 ? 0 : 0x51;
        bytes memory input = abi.encode(method, amount, uint64(0), given, params, to);
        (bool done, bytes memory answer) = 0xfe00000000000000000000000000000000000003.delegatecall(input);
        require(done, "call_actor failed");
        return abi.decode(answer, (int256, uint64, bytes));
    }

    function callActorId(uint64 to, uint64 method, uint256 amount, bytes calldata params)
        external
        payable
        returns (int256 exitCode, uint64 codec, bytes memory data)
    {
        uint64 given = params.length == 0 ? 0 : 0x51;
        bytes memory input = abi.encode(method, amount, uint64(0), given, params, to);
        (bool done, bytes memory answer) = 0xfe00000000000000000000000000000000000005.delegatecall(input);
        require(done, "call_actor_id failed");
        return abi.decode(answer, (int256, uint64, bytes));
    }

    function handle_filecoin_method(uint64 method, uint64 codec, bytes calldata params)
        external
        pure
        returns (uint32, uint64, bytes memory)
    {
        return (method == 0x1000001 ? 42 : 0, codec, params);
    }
}
