'use strict';

/* attached.js ADDRESS INCLUDES: functions for test_attached.py, until standard input ends. */

const {Collector, HandlerError} = require('../../examples/handlers/collector-handlers');

async function main([address, includes]) {
  const collector = new Collector(address,
    {protos: ['shop/v1/order.proto', 'google/protobuf/wrappers.proto'], includes: [includes]});

  await collector.register('', 'shop.v1.OrderService', 'Charge', async (order) => {
    if (order.number === 'closed')
      throw new HandlerError('FAILED_PRECONDITION', 'the shop is closed');
    return {'@type': 'shop.v1.OrderReply', number: order.number, receipt: 'js'};
  });
  await collector.register('users', 'UserService', 'GetUser',
    (user) => ({'@type': 'google.protobuf.StringValue', value: `${user.value}!`}));
  console.log('ready');
  process.stdin.on('end', () => collector.close()).resume();
}

main(process.argv.slice(2));
