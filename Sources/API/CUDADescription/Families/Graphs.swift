// SPDX-License-Identifier: Apache-2.0

let graphsFunctions: [Function] = [
    Function(
        "cuGraphAddBatchMemOpNode", 11070,
        "CUgraphNode *phGraphNode, CUgraph hGraph, const CUgraphNode *dependencies, size_t numDependencies, const CUDA_BATCH_MEM_OP_NODE_PARAMS *nodeParams"
    ),
    Function(
        "cuGraphAddChildGraphNode", 10000,
        "CUgraphNode *phGraphNode, CUgraph hGraph, const CUgraphNode *dependencies, size_t numDependencies, CUgraph childGraph"
    ),
    Function(
        "cuGraphAddDependencies", 10000,
        "CUgraph hGraph, const CUgraphNode *from, const CUgraphNode *to, size_t numDependencies"),
    Function(
        "cuGraphAddDependencies_v2", 12030,
        "CUgraph hGraph, const CUgraphNode *from, const CUgraphNode *to, const CUgraphEdgeData *edgeData, size_t numDependencies"
    ),
    Function(
        "cuGraphAddEmptyNode", 10000,
        "CUgraphNode *phGraphNode, CUgraph hGraph, const CUgraphNode *dependencies, size_t numDependencies"),
    Function(
        "cuGraphAddEventRecordNode", 11010,
        "CUgraphNode *phGraphNode, CUgraph hGraph, const CUgraphNode *dependencies, size_t numDependencies, CUevent event"
    ),
    Function(
        "cuGraphAddEventWaitNode", 11010,
        "CUgraphNode *phGraphNode, CUgraph hGraph, const CUgraphNode *dependencies, size_t numDependencies, CUevent event"
    ),
    Function("cuGraphAddExternalSemaphoresSignalNode", 11020, absent: .graphics),
    Function("cuGraphAddExternalSemaphoresWaitNode", 11020, absent: .graphics),
    Function(
        "cuGraphAddHostNode", 10000,
        "CUgraphNode *phGraphNode, CUgraph hGraph, const CUgraphNode *dependencies, size_t numDependencies, const CUDA_HOST_NODE_PARAMS *nodeParams"
    ),
    Function(
        "cuGraphAddKernelNode", 10000,
        "CUgraphNode *phGraphNode, CUgraph hGraph, const CUgraphNode *dependencies, size_t numDependencies, const CUDA_KERNEL_NODE_PARAMS_v1 *nodeParams"
    ),
    Function(
        "cuGraphAddKernelNode_v2", 12000,
        "CUgraphNode *phGraphNode, CUgraph hGraph, const CUgraphNode *dependencies, size_t numDependencies, const CUDA_KERNEL_NODE_PARAMS *nodeParams"
    ),
    Function(
        "cuGraphAddMemAllocNode", 11040,
        "CUgraphNode *phGraphNode, CUgraph hGraph, const CUgraphNode *dependencies, size_t numDependencies, CUDA_MEM_ALLOC_NODE_PARAMS *nodeParams"
    ),
    Function(
        "cuGraphAddMemFreeNode", 11040,
        "CUgraphNode *phGraphNode, CUgraph hGraph, const CUgraphNode *dependencies, size_t numDependencies, CUdeviceptr dptr"
    ),
    Function(
        "cuGraphAddMemcpyNode", 10000,
        "CUgraphNode *phGraphNode, CUgraph hGraph, const CUgraphNode *dependencies, size_t numDependencies, const CUDA_MEMCPY3D *copyParams, CUcontext ctx"
    ),
    Function(
        "cuGraphAddMemsetNode", 10000,
        "CUgraphNode *phGraphNode, CUgraph hGraph, const CUgraphNode *dependencies, size_t numDependencies, const CUDA_MEMSET_NODE_PARAMS *memsetParams, CUcontext ctx"
    ),
    Function(
        "cuGraphAddNode", 12020,
        "CUgraphNode *phGraphNode, CUgraph hGraph, const CUgraphNode *dependencies, size_t numDependencies, CUgraphNodeParams *nodeParams"
    ),
    Function(
        "cuGraphAddNode_v2", 12030,
        "CUgraphNode *phGraphNode, CUgraph hGraph, const CUgraphNode *dependencies, const CUgraphEdgeData *dependencyData, size_t numDependencies, CUgraphNodeParams *nodeParams"
    ),
    Function("cuGraphAddNode_v3", 13040, sameAs: "cuGraphAddNode_v2"),
    Function(
        "cuGraphBatchMemOpNodeGetParams", 11070, "CUgraphNode hNode, CUDA_BATCH_MEM_OP_NODE_PARAMS *nodeParams_out"),
    Function(
        "cuGraphBatchMemOpNodeSetParams", 11070, "CUgraphNode hNode, const CUDA_BATCH_MEM_OP_NODE_PARAMS *nodeParams"),
    Function("cuGraphChildGraphNodeGetGraph", 10000, "CUgraphNode hNode, CUgraph *phGraph"),
    Function("cuGraphClone", 10000, "CUgraph *phGraphClone, CUgraph originalGraph"),
    Function(
        "cuGraphConditionalHandleCreate", 12030,
        "CUgraphConditionalHandle *pHandle_out, CUgraph hGraph, CUcontext ctx, unsigned int defaultLaunchValue, unsigned int flags"
    ),
    Function("cuGraphCreate", 10000, "CUgraph *phGraph, unsigned int flags"),
    Function("cuGraphDebugDotPrint", 11030, "CUgraph hGraph, const char *path, unsigned int flags"),
    Function("cuGraphDestroy", 10000, "CUgraph hGraph"),
    Function("cuGraphDestroyNode", 10000, "CUgraphNode hNode"),
    Function("cuGraphEventRecordNodeGetEvent", 11010, "CUgraphNode hNode, CUevent *event_out"),
    Function("cuGraphEventRecordNodeSetEvent", 11010, "CUgraphNode hNode, CUevent event"),
    Function("cuGraphEventWaitNodeGetEvent", 11010, "CUgraphNode hNode, CUevent *event_out"),
    Function("cuGraphEventWaitNodeSetEvent", 11010, "CUgraphNode hNode, CUevent event"),
    Function(
        "cuGraphExecBatchMemOpNodeSetParams", 11070,
        "CUgraphExec hGraphExec, CUgraphNode hNode, const CUDA_BATCH_MEM_OP_NODE_PARAMS *nodeParams"),
    Function(
        "cuGraphExecChildGraphNodeSetParams", 11010, "CUgraphExec hGraphExec, CUgraphNode hNode, CUgraph childGraph"),
    Function("cuGraphExecDestroy", 10000, "CUgraphExec hGraphExec"),
    Function("cuGraphExecEventRecordNodeSetEvent", 11010, "CUgraphExec hGraphExec, CUgraphNode hNode, CUevent event"),
    Function("cuGraphExecEventWaitNodeSetEvent", 11010, "CUgraphExec hGraphExec, CUgraphNode hNode, CUevent event"),
    Function("cuGraphExecExternalSemaphoresSignalNodeSetParams", 11020, absent: .graphics),
    Function("cuGraphExecExternalSemaphoresWaitNodeSetParams", 11020, absent: .graphics),
    Function("cuGraphExecGetFlags", 12000, "CUgraphExec hGraphExec, cuuint64_t *flags"),
    Function("cuGraphExecGetId", 13010, "CUgraphExec hGraphExec, unsigned int *graphId"),
    Function(
        "cuGraphExecHostNodeSetParams", 10020,
        "CUgraphExec hGraphExec, CUgraphNode hNode, const CUDA_HOST_NODE_PARAMS *nodeParams"),
    Function(
        "cuGraphExecKernelNodeSetParams", 10010,
        "CUgraphExec hGraphExec, CUgraphNode hNode, const CUDA_KERNEL_NODE_PARAMS_v1 *nodeParams"),
    Function(
        "cuGraphExecKernelNodeSetParams_v2", 12000,
        "CUgraphExec hGraphExec, CUgraphNode hNode, const CUDA_KERNEL_NODE_PARAMS *nodeParams"),
    Function(
        "cuGraphExecMemcpyNodeSetParams", 10020,
        "CUgraphExec hGraphExec, CUgraphNode hNode, const CUDA_MEMCPY3D *copyParams, CUcontext ctx"),
    Function(
        "cuGraphExecMemsetNodeSetParams", 10020,
        "CUgraphExec hGraphExec, CUgraphNode hNode, const CUDA_MEMSET_NODE_PARAMS *memsetParams, CUcontext ctx"),
    Function(
        "cuGraphExecNodeSetParams", 12020, "CUgraphExec hGraphExec, CUgraphNode hNode, CUgraphNodeParams *nodeParams"),
    Function(
        "cuGraphExecUpdate", 10020,
        "CUgraphExec hGraphExec, CUgraph hGraph, CUgraphNode *hErrorNode_out, CUgraphExecUpdateResult *updateResult_out"
    ),
    Function(
        "cuGraphExecUpdate_v2", 12000,
        "CUgraphExec hGraphExec, CUgraph hGraph, CUgraphExecUpdateResultInfo *resultInfo"),
    Function("cuGraphExternalSemaphoresSignalNodeGetParams", 11020, absent: .graphics),
    Function("cuGraphExternalSemaphoresSignalNodeSetParams", 11020, absent: .graphics),
    Function("cuGraphExternalSemaphoresWaitNodeGetParams", 11020, absent: .graphics),
    Function("cuGraphExternalSemaphoresWaitNodeSetParams", 11020, absent: .graphics),
    Function("cuGraphGetEdges", 10000, "CUgraph hGraph, CUgraphNode *from, CUgraphNode *to, size_t *numEdges"),
    Function(
        "cuGraphGetEdges_v2", 12030,
        "CUgraph hGraph, CUgraphNode *from, CUgraphNode *to, CUgraphEdgeData *edgeData, size_t *numEdges"),
    Function("cuGraphGetId", 13010, "CUgraph hGraph, unsigned int *graphId"),
    Function("cuGraphGetNodes", 10000, "CUgraph hGraph, CUgraphNode *nodes, size_t *numNodes"),
    Function("cuGraphGetRootNodes", 10000, "CUgraph hGraph, CUgraphNode *rootNodes, size_t *numRootNodes"),
    Function("cuGraphHostNodeGetParams", 10000, "CUgraphNode hNode, CUDA_HOST_NODE_PARAMS *nodeParams"),
    Function("cuGraphHostNodeSetParams", 10000, "CUgraphNode hNode, const CUDA_HOST_NODE_PARAMS *nodeParams"),
    Function(
        "cuGraphInstantiate", 10000,
        "CUgraphExec *phGraphExec, CUgraph hGraph, CUgraphNode *phErrorNode, char *logBuffer, size_t bufferSize"),
    Function(
        "cuGraphInstantiateWithFlags", 11040, "CUgraphExec *phGraphExec, CUgraph hGraph, unsigned long long flags"),
    Function(
        "cuGraphInstantiateWithParams", 12000,
        "CUgraphExec *phGraphExec, CUgraph hGraph, CUDA_GRAPH_INSTANTIATE_PARAMS *instantiateParams",
        perThread: .ptsz(12000)),
    Function(
        "cuGraphInstantiate_v2", 11000,
        "CUgraphExec *phGraphExec, CUgraph hGraph, CUgraphNode *phErrorNode, char *logBuffer, size_t bufferSize"),
    Function("cuGraphKernelNodeCopyAttributes", 11000, "CUgraphNode dst, CUgraphNode src"),
    Function(
        "cuGraphKernelNodeGetAttribute", 11000,
        "CUgraphNode hNode, CUlaunchAttributeID attr, CUlaunchAttributeValue *value_out"),
    Function("cuGraphKernelNodeGetParams", 10000, "CUgraphNode hNode, CUDA_KERNEL_NODE_PARAMS_v1 *nodeParams"),
    Function("cuGraphKernelNodeGetParams_v2", 12000, "CUgraphNode hNode, CUDA_KERNEL_NODE_PARAMS *nodeParams"),
    Function(
        "cuGraphKernelNodeSetAttribute", 11000,
        "CUgraphNode hNode, CUlaunchAttributeID attr, const CUlaunchAttributeValue *value"),
    Function("cuGraphKernelNodeSetParams", 10000, "CUgraphNode hNode, const CUDA_KERNEL_NODE_PARAMS_v1 *nodeParams"),
    Function("cuGraphKernelNodeSetParams_v2", 12000, "CUgraphNode hNode, const CUDA_KERNEL_NODE_PARAMS *nodeParams"),
    Function("cuGraphLaunch", 10000, "CUgraphExec hGraphExec, CUstream hStream", perThread: .ptsz(10000)),
    Function("cuGraphMemAllocNodeGetParams", 11040, "CUgraphNode hNode, CUDA_MEM_ALLOC_NODE_PARAMS *params_out"),
    Function("cuGraphMemFreeNodeGetParams", 11040, "CUgraphNode hNode, CUdeviceptr *dptr_out"),
    Function("cuGraphMemcpyNodeGetParams", 10000, "CUgraphNode hNode, CUDA_MEMCPY3D *nodeParams"),
    Function("cuGraphMemcpyNodeSetParams", 10000, "CUgraphNode hNode, const CUDA_MEMCPY3D *nodeParams"),
    Function("cuGraphMemsetNodeGetParams", 10000, "CUgraphNode hNode, CUDA_MEMSET_NODE_PARAMS *nodeParams"),
    Function("cuGraphMemsetNodeSetParams", 10000, "CUgraphNode hNode, const CUDA_MEMSET_NODE_PARAMS *nodeParams"),
    Function("cuGraphNodeFindInClone", 10000, "CUgraphNode *phNode, CUgraphNode hOriginalNode, CUgraph hClonedGraph"),
    Function("cuGraphNodeGetContainingGraph", 13010, "CUgraphNode hNode, CUgraph *phGraph"),
    Function(
        "cuGraphNodeGetDependencies", 10000, "CUgraphNode hNode, CUgraphNode *dependencies, size_t *numDependencies"),
    Function(
        "cuGraphNodeGetDependencies_v2", 12030,
        "CUgraphNode hNode, CUgraphNode *dependencies, CUgraphEdgeData *edgeData, size_t *numDependencies"),
    Function(
        "cuGraphNodeGetDependentNodes", 10000,
        "CUgraphNode hNode, CUgraphNode *dependentNodes, size_t *numDependentNodes"),
    Function(
        "cuGraphNodeGetDependentNodes_v2", 12030,
        "CUgraphNode hNode, CUgraphNode *dependentNodes, CUgraphEdgeData *edgeData, size_t *numDependentNodes"),
    Function("cuGraphNodeGetEnabled", 11060, "CUgraphExec hGraphExec, CUgraphNode hNode, unsigned int *isEnabled"),
    Function("cuGraphNodeGetLocalId", 13010, "CUgraphNode hNode, unsigned int *nodeId"),
    Function("cuGraphNodeGetParams", 13020, "CUgraphNode hNode, CUgraphNodeParams *nodeParams"),
    Function("cuGraphNodeGetToolsId", 13010, "CUgraphNode hNode, unsigned long long *toolsNodeId"),
    Function("cuGraphNodeGetType", 10000, "CUgraphNode hNode, CUgraphNodeType *type"),
    Function("cuGraphNodeSetEnabled", 11060, "CUgraphExec hGraphExec, CUgraphNode hNode, unsigned int isEnabled"),
    Function("cuGraphNodeSetParams", 12020, "CUgraphNode hNode, CUgraphNodeParams *nodeParams"),
    Function("cuGraphNodeSetParams_v2", 13040, sameAs: "cuGraphNodeSetParams"),
    Function("cuGraphReleaseUserObject", 11030, "CUgraph graph, CUuserObject object, unsigned int count"),
    Function(
        "cuGraphRemoveDependencies", 10000,
        "CUgraph hGraph, const CUgraphNode *from, const CUgraphNode *to, size_t numDependencies"),
    Function(
        "cuGraphRemoveDependencies_v2", 12030,
        "CUgraph hGraph, const CUgraphNode *from, const CUgraphNode *to, const CUgraphEdgeData *edgeData, size_t numDependencies"
    ),
    Function(
        "cuGraphRetainUserObject", 11030, "CUgraph graph, CUuserObject object, unsigned int count, unsigned int flags"),
    Function("cuGraphUpload", 11010, "CUgraphExec hGraphExec, CUstream hStream", perThread: .ptsz(11010)),
    Function(
        "cuUserObjectCreate", 11030,
        "CUuserObject *object_out, void *ptr, CUhostFn destroy, unsigned int initialRefcount, unsigned int flags"),
    Function("cuUserObjectRelease", 11030, "CUuserObject object, unsigned int count"),
    Function("cuUserObjectRetain", 11030, "CUuserObject object, unsigned int count"),
]
